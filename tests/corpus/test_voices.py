"""Voices: enough of them, well formed, and never shared between the splits."""

from pathlib import Path

import espeakng_loader
import pytest

from resyn.corpus import VOICES, voices
from resyn.corpus.espeak import synthesize


def test_there_are_enough_voices_with_distinct_digit_names() -> None:
    assert len(voices("train")) >= 24
    assert len(voices("eval")) >= 6
    assert len({voice.id for voice in VOICES}) == len(VOICES)
    assert all(voice.id.isdecimal() for voice in VOICES)


def test_no_variant_is_on_both_sides() -> None:
    train, held_out = ({voice.variant for voice in voices(side)} for side in ("train", "eval"))
    assert not train & held_out
    assert "" not in train | held_out


def test_every_variant_exists() -> None:
    # espeak-ng ignores a variant it does not know, so a slip of the pen would go unheard.
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    assert {voice.variant for voice in VOICES} <= {path.name for path in folder.iterdir()}


def test_voices_sound_different() -> None:
    spoken = {
        synthesize(
            "Once more.",
            espeak_voice=voice.espeak_voice,
            pitch=voice.pitch,
            pitch_range=voice.pitch_range,
            rate=voice.rate,
        ).tobytes()
        for voice in VOICES
    }
    assert len(spoken) == len(VOICES)


@pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.id)
def test_settings_are_within_their_documented_ranges(voice) -> None:
    assert 3 <= voice.pitch <= 96
    assert 5 <= voice.pitch_range <= 94
    assert 80 <= voice.rate <= 450
    assert 0.9 <= voice.tract <= 1.1
