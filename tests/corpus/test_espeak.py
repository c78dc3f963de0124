"""espeak-ng: a pure function of its arguments, whatever came before."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from resyn.corpus.espeak import ESPEAK_RATE, synthesize
from resyn.errors import UserError

_PLAIN = {"pitch": 50, "pitch_range": 50, "rate": 170}
_TEXT = "The river was quiet that evening."


# These variants use flutter, echo, the Klatt synthesiser and breath noise, which all keep state.
@pytest.mark.parametrize("voice", ["en-us+m1", "en-us+f4", "en+klatt4", "en-us+adam", "en+croak"])
def test_samples_do_not_depend_on_what_was_spoken_before(voice: str) -> None:
    first = synthesize(_TEXT, espeak_voice=voice, **_PLAIN)
    synthesize(
        "Something else.", espeak_voice="en-gb-scotland+f2", pitch=80, pitch_range=9, rate=99
    )
    again = synthesize(_TEXT, espeak_voice=voice, **_PLAIN)
    np.testing.assert_array_equal(first, again)


def test_threads_take_turns() -> None:
    texts = [f"Number {word} of the row." for word in ("one", "two", "three", "four")] * 4
    expected = [synthesize(text, espeak_voice="en+m3", **_PLAIN) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: synthesize(text, espeak_voice="en+m3", **_PLAIN), texts))
    for left, right in zip(expected, found, strict=True):
        np.testing.assert_array_equal(left, right)


def test_speech_is_there_and_not_clipped() -> None:
    samples = synthesize(_TEXT, espeak_voice="en-us+f1", **_PLAIN)
    assert samples.dtype == np.int16
    assert 1.0 < len(samples) / ESPEAK_RATE < 4.0
    assert 1000 < np.abs(samples.astype(int)).max() < 32000


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(ValueError, match="xx-none"):
        synthesize(_TEXT, espeak_voice="xx-none", **_PLAIN)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"pip install 'resyn\[demo\]'"):
        synthesize(_TEXT, espeak_voice="en", **_PLAIN)
