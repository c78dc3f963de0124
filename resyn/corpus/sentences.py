"""Prose for the synthetic voices: sentences drawn from a template grammar."""

import random
import re

from resyn.corpus.lexicon import EVAL_FRAMES, EVAL_LEXICON, TRAIN_FRAMES, TRAIN_LEXICON
from resyn.corpus.voices import Split

GRAMMARS: dict[Split, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "train": (TRAIN_FRAMES, TRAIN_LEXICON),
    "eval": (EVAL_FRAMES, EVAL_LEXICON),
}

_SLOT = re.compile(r"\{(\w+)\}")


def draw_sentence(split: Split, rng: random.Random) -> str:
    """One sentence with capital and punctuation; no phrase occurs twice in it.

    Sentences of the two splits are disjoint: see `resyn.corpus.lexicon`.
    """
    frames, lexicon = GRAMMARS[split]
    used: set[str] = set()

    def fill(slot: re.Match[str]) -> str:
        phrase = rng.choice([each for each in lexicon[slot[1]] if each not in used])
        used.add(phrase)
        return phrase

    sentence = _SLOT.sub(fill, rng.choice(frames))
    first = re.search(r"\w", sentence)
    assert first is not None
    return sentence[: first.start()] + first[0].upper() + sentence[first.end() :]


def transcript(sentence: str) -> str:
    """LibriSpeech's spelling of a sentence: capitals, apostrophes and single spaces only."""
    return " ".join(re.findall(r"[A-Z]+(?:'[A-Z]+)*", sentence.upper()))
