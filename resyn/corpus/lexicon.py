"""Sentence frames and phrases of the synthetic corpus, for training and, apart, for evaluation.

A frame's `{slot}` takes a phrase of the lexicon's entry of that name. Every evaluation phrase
holds a word that no training frame or phrase contains, and every evaluation frame has a slot, so
no sentence can be on both sides.
"""


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(","))


TRAIN_FRAMES: tuple[str, ...] = (
    "{person} walked slowly toward {place}, and nobody asked why.",
    "{person} had never seen {thing} so {quality} before.",
    "Spring came late that year, and {place} stayed {quality} until June.",
    "{time}, {person} found {thing} lying beside {place}.",
    "There was something {quality} about the way {person} spoke of {place}.",
    "He put {thing} on the table and waited for {person} to answer.",
    "She remembered {place} as it had been when she was young.",
    "{weather}, and still {person} would not leave {place}.",
    "Nothing in {place} had changed, except that {thing} was gone.",
    '"You will not find {thing} here," said {person}, turning away.',
    "{person} carried {thing} through {place} without a word.",
    "{time} the whole house smelled of bread and wood smoke.",
    "It was {person} who first noticed that {thing} was missing.",
    "We talked until midnight about {place} and about {person}.",
    "The road to {place} was longer than {person} had promised.",
    "{weather}, so we stayed indoors and mended {thing}.",
    "If {person} had known the truth, the journey might have ended there.",
    "{person} laughed, and the sound filled {place}.",
    '"Bring me {thing}," whispered {person}, "and close the door behind you."',
    "{time}, when the lamps were low, {person} began to tell the story again.",
    "They say that {person} once traded {thing} for a single night in {place}.",
    "A {quality} light moved across {place}, and then it was dark.",
    "I have often thought of {person}, and of {thing} that we left behind.",
    "Each morning {person} opened the window and looked out over {place}.",
    "Between {place} and {place} there is only an hour of easy walking.",
    "{person} knew every corner of {place}, but could not explain {thing}.",
    "No one believed {person}, although {thing} was there for all to see.",
    "The letter spoke of {thing}, of {place}, and of nothing else.",
    "{person} was tired and {quality}, yet {time} the work was done.",
    "What could {person} possibly want with {thing}?",
    "{weather}, and {place} looked {quality} in the morning light.",
    "Where the path divides, {person} stopped to rest near {place}.",
)

TRAIN_LEXICON: dict[str, tuple[str, ...]] = {
    "person": _phrases(
        """
        the old captain, my younger brother, the doctor's wife, a tall stranger, the
        village teacher, Margaret, Thomas Hale, the blacksmith, her grandfather, the
        quiet child, our neighbour, Mister Jones, the shepherd, Eleanor, the judge, a
        travelling musician, the youngest daughter, Uncle George, the baker, the king's
        messenger, Susannah, the watchmaker, a weary soldier, the schoolmaster, Father
        Paul, the woman in blue, the fisherman, Oliver, the housekeeper, a boy from the
        farm, Charles, the poor widow
        """
    ),
    "place": _phrases(
        """
        the harbour, the valley, the edge of the forest, the empty church, the market
        square, the river, the old mill, the kitchen garden, a narrow street, the
        railway station, the upper room, the northern hills, the orchard, the bridge,
        the library, a village by the sea, the great hall, the stable yard, the
        lighthouse, the stone cottage, the crossroads, the quiet shore, the cellar, the
        palace gates, the hospital, the courtyard, the far side of the lake, the
        theatre, the winding stair, the southern road
        """
    ),
    "thing": _phrases(
        """
        the silver key, a box of letters, the broken clock, a loaf of bread, the leather
        book, an iron lantern, the family portrait, a small blue bottle, the heavy coat,
        a map of the coast, the wedding ring, a bundle of sticks, the judge's hat, a
        basket of apples, the rusty sword, a piece of chalk, the missing page, a pair of
        boots, the white horse, a cup of tea, the golden thread, a wooden bowl, the
        fishing net, an unfinished song, the captain's journal, a handful of coins, the
        garden gate, a length of rope, the yellow curtain, a jar of honey, the
        telescope, an envelope
        """
    ),
    "quality": _phrases(
        """
        strange, beautiful, quiet, cheerful, dangerous, pale, familiar, gentle, lonely,
        curious, peaceful, grey, solemn, bright, uncertain, wild, ancient, cold, joyful,
        heavy, fresh, peculiar, smooth, thoughtful
        """
    ),
    "time": _phrases(
        """
        early in the morning, on the third day, before the sun had risen, late in the
        afternoon, that same evening, a week later, towards midnight, when the bells had
        stopped, after supper, in the first days of autumn, just before the storm, many
        years afterwards, on Sunday, by the end of the month, not long after Christmas,
        at the usual hour
        """
    ),
    "weather": _phrases(
        """
        the rain had not stopped for days, the wind blew hard from the east, snow
        covered the roofs, a thick fog rolled in, the sky was perfectly clear, thunder
        shook the windows, the heat was hardly bearable, frost lay on the fields, the
        clouds hung low and dark, the sun shone through the leaves, a soft breeze moved
        the branches, hail beat upon the glass
        """
    ),
}

EVAL_FRAMES: tuple[str, ...] = (
    "{figure} asked whether {event} would ever happen again.",
    "During {event}, {figure} kept watch above {scene}.",
    "Nobody could persuade {figure} to sell {object}.",
    "Perhaps {object} belonged to {figure} after all.",
    "{figure} vanished into {scene} shortly after {event}.",
    "We shall meet {figure} at {scene}, whatever the cost.",
    "How strange that {object} should turn up inside {scene}!",
    "{figure} polished {object} until it gleamed.",
    "Because of {event}, {scene} was closed to visitors.",
    "It seemed to {figure} that {scene} went on for ever.",
    "Only {figure} understood the purpose of {object}.",
    '"Take {object} with you," urged {figure}.',
    "Rumours of {event} soon reached {scene}.",
    "{figure} drew {scene} from memory, and then {object}.",
    "Few people survived {event} as calmly as {figure}.",
    "High above {scene}, {figure} unfolded {object}.",
)

EVAL_LEXICON: dict[str, tuple[str, ...]] = {
    "figure": _phrases(
        """
        the astronomer, Professor Whitmore, an elderly tailor, the ambassador, Beatrice,
        the ferryman, a nervous clerk, the violinist, Jonathan, the empress, a retired
        surgeon, the beekeeper, Philippa, the gamekeeper, a barefoot pilgrim, the
        chemist, Vincent, the lieutenant, a mischievous goblin, the archivist
        """
    ),
    "object": _phrases(
        """
        the brass compass, a crystal goblet, the porcelain doll, a velvet cushion, the
        crimson banner, an ivory chessboard, the copper kettle, a forged passport, the
        emerald brooch, a dusty manuscript, the marble statue, a bronze medallion, the
        painted drum, a jade necklace, the oak cradle, a folded parchment
        """
    ),
    "scene": _phrases(
        """
        the observatory, the botanical pavilion, a frozen waterfall, the monastery, the
        abandoned quarry, the museum, a crowded tavern, the glacier, the vineyard, the
        parliament, a hidden meadow, the shipyard, the eastern desert, the cavern, the
        circus tent, a ruined fortress
        """
    ),
    "event": _phrases(
        """
        the eclipse, the coronation, the harvest festival, an earthquake, the siege, the
        regatta, the general election, a masquerade, the shipwreck, the flood, the
        archery contest, the funeral
        """
    ),
}
