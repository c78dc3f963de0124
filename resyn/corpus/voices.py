"""The speakers of the synthetic corpus: who they are and which side of the split they are on."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "eval"]


@dataclass(frozen=True, slots=True)
class Voice:
    """One speaker.

    Attributes:
        id: decimal digits, as LibriLight and LibriSpeech name their speakers.
        espeak_voice: espeak-ng language and variant, `en-us+f2`.
        pitch: 0 to 99; 50 is the variant's own pitch.
        pitch_range: 0 (monotone) to 99; 50 is ordinary speech.
        rate: words per minute.
        tract: scale of pitch and formants, above 1 for a shorter vocal tract; about 0.9 to 1.1.
        tilt: spectral slope in dB per octave on top of the variant's own.
        split: `train` voices speak the LibriLight-shaped tree, `eval` voices the other one.
    """

    id: str
    espeak_voice: str
    pitch: int
    pitch_range: int
    rate: int
    tract: float
    tilt: float
    split: Split

    @property
    def variant(self) -> str:
        """The espeak-ng variant, which no voice of the other split uses."""
        return self.espeak_voice.partition("+")[2]


# Variants that share most of their formant tables (linda and belinda, rob and robert, Storm and
# victor) count as one person: at most one of each family appears.
_TRAIN = (
    Voice("103", "en-us+f1", 50, 55, 165, 1.00, 0.0, "train"),
    Voice("118", "en-us+m1", 48, 50, 160, 1.00, 0.5, "train"),
    Voice("204", "en+f2", 58, 60, 172, 1.02, -1.0, "train"),
    Voice("229", "en-gb-x-rp+m3", 52, 45, 155, 1.03, 0.0, "train"),
    Voice("311", "en-gb-scotland+f4", 52, 58, 168, 1.03, 0.8, "train"),
    Voice("337", "en-us+m4", 42, 40, 148, 0.96, 0.0, "train"),
    Voice("402", "en-us-nyc+Annie", 40, 52, 178, 0.97, -0.8, "train"),
    Voice("451", "en-gb-x-gbclan+m6", 64, 55, 170, 1.02, 0.7, "train"),
    Voice("518", "en-029+Andrea", 42, 60, 162, 0.96, -0.6, "train"),
    Voice("560", "en+m7", 50, 48, 158, 1.00, 1.5, "train"),
    Voice("633", "en-us+linda", 44, 50, 174, 1.00, -1.0, "train"),
    Voice("672", "en-us+m8", 50, 55, 150, 1.00, 1.8, "train"),
    Voice("708", "en-gb-x-rp+anika", 40, 62, 166, 0.98, 1.6, "train"),
    Voice("749", "en-us+klatt4", 46, 52, 164, 1.02, 0.4, "train"),
    Voice("816", "en+grandma", 36, 48, 142, 0.97, -0.5, "train"),
    Voice("855", "en-us+Alex", 62, 70, 176, 1.01, -0.4, "train"),
    Voice("927", "en-us+shelby", 48, 55, 170, 1.05, -1.2, "train"),
    Voice("964", "en-gb-scotland+Michael", 50, 52, 160, 1.00, 0.9, "train"),
    Voice("1015", "en-gb-x-gbcwmd+aunty", 50, 45, 156, 1.00, 0.5, "train"),
    Voice("1082", "en-us+Gene", 47, 56, 168, 0.98, 0.6, "train"),
    Voice("1126", "en-us+steph2", 50, 60, 172, 1.04, 2.5, "train"),
    Voice("1190", "en+adam", 50, 46, 158, 1.00, 1.0, "train"),
    Voice("1247", "en-us+zac", 30, 50, 164, 0.92, -0.5, "train"),
    Voice("1293", "en-us+david", 56, 42, 150, 1.00, 2.0, "train"),
    Voice("1358", "en-gb-x-gbclan+edward", 54, 58, 166, 1.04, 1.2, "train"),
    Voice("1404", "en+croak", 44, 40, 140, 0.97, -0.8, "train"),
    Voice("1461", "en-us+max", 72, 55, 180, 1.06, 0.3, "train"),
    Voice("1537", "en-us-nyc+quincy", 50, 50, 172, 1.00, 1.1, "train"),
    Voice("1580", "en-029+antonio", 52, 58, 162, 1.00, 1.4, "train"),
    Voice("1622", "en-us+pedro", 68, 64, 170, 1.05, -0.7, "train"),
    Voice("1679", "en-gb-x-rp+paul", 50, 44, 152, 0.97, 0.6, "train"),
    Voice("1734", "en-us+Nguyen", 52, 50, 160, 1.03, 1.3, "train"),
)

_EVAL = (
    Voice("2061", "en-us+f3", 48, 55, 168, 1.00, 0.2, "eval"),
    Voice("2117", "en-us+m5", 50, 50, 162, 1.00, 0.4, "eval"),
    Voice("2300", "en-gb-x-rp+f5", 44, 58, 164, 0.97, -0.7, "eval"),
    Voice("2414", "en+m2", 50, 52, 158, 0.98, 0.6, "eval"),
    Voice("2803", "en-us+Alicia", 42, 50, 170, 0.98, -0.6, "eval"),
    Voice("3081", "en-us+ed", 50, 55, 174, 1.02, -0.4, "eval"),
    Voice("3570", "en-gb-scotland+victor", 52, 48, 156, 1.00, 0.0, "eval"),
    Voice("4077", "en-us+rob", 54, 56, 166, 1.03, 0.5, "eval"),
)

VOICES: tuple[Voice, ...] = _TRAIN + _EVAL


def voices(split: Split) -> tuple[Voice, ...]:
    """The voices of one side of the split, always in the same order."""
    return tuple(voice for voice in VOICES if voice.split == split)
