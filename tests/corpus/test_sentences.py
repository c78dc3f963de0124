"""Sentences: many, and none of them in both splits."""

import random
import re

from resyn.corpus.lexicon import EVAL_FRAMES, EVAL_LEXICON, TRAIN_FRAMES, TRAIN_LEXICON
from resyn.corpus.sentences import draw_sentence, transcript

_SLOT = re.compile(r"\{\w+\}")


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))


def test_every_evaluation_phrase_holds_a_word_that_training_never_uses() -> None:
    phrases = [phrase for entry in TRAIN_LEXICON.values() for phrase in entry]
    train = set().union(*map(_words, phrases), *(_words(_SLOT.sub("", f)) for f in TRAIN_FRAMES))
    for phrase in (phrase for entry in EVAL_LEXICON.values() for phrase in entry):
        assert _words(phrase) - train, phrase
    assert all(_SLOT.search(frame) for frame in EVAL_FRAMES)
    assert not set(TRAIN_FRAMES) & set(EVAL_FRAMES)


def test_thousands_of_sentences_and_none_in_both_splits() -> None:
    rng = random.Random(0)
    train = {draw_sentence("train", rng) for _ in range(6000)}
    held_out = {draw_sentence("eval", rng) for _ in range(6000)}
    assert len(train) > 4000
    assert len(held_out) > 2000
    assert not train & held_out


def test_sentences_are_finished_prose() -> None:
    rng = random.Random(1)
    for split in ("train", "eval"):
        for _ in range(500):
            sentence = draw_sentence(split, rng)
            assert re.fullmatch(r"\"?[A-Z][A-Za-z',\" -]+[.?!]\"?", sentence), sentence


def test_the_seed_decides_the_sentence() -> None:
    assert draw_sentence("train", random.Random("a")) == draw_sentence("train", random.Random("a"))


def test_transcripts_are_spelled_as_in_librispeech() -> None:
    spelled = transcript('"Bring me the judge\'s hat," she said - at once!')
    assert spelled == "BRING ME THE JUDGE'S HAT SHE SAID AT ONCE"
