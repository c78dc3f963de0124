"""The espeak-ng synthesiser through ctypes: text in, 16-bit samples out, nothing played.

The library and its data come from the PyPI package `espeakng_loader` (extra `demo`).
"""

import _ctypes
import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resyn.errors import UserError

ESPEAK_RATE = 22050

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_RATE, _VOLUME, _PITCH, _RANGE, _PUNCTUATION, _CAPITALS, _WORDGAP = range(1, 8)
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
# At full volume the louder variants clip.
_HEADROOM = 35

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)
_LOCK = threading.Lock()


def synthesize(
    text: str, *, espeak_voice: str, pitch: int, pitch_range: int, rate: int
) -> NDArray[np.int16]:
    """Speak `text` and return its samples, mono int16 of shape (S,) at `ESPEAK_RATE`.

    Args:
        text: plain English prose.
        espeak_voice: language and optional variant, such as `en-us+f2`.
        pitch: 0 to 99, 50 is the variant's own pitch.
        pitch_range: 0 (monotone) to 99, 50 is ordinary speech.
        rate: words per minute, 80 to 450.

    The samples depend on the arguments alone, never on what was spoken before. Calls from
    several threads take turns.

    Raises:
        UserError: the extra `demo` is not installed.
        ValueError: espeak-ng has no such voice.
        RuntimeError: espeak-ng could not start or speak.
    """
    chunks: list[bytes] = []
    settings = {_RATE: rate, _VOLUME: _HEADROOM, _PITCH: pitch, _RANGE: pitch_range}
    settings |= {_PUNCTUATION: 0, _CAPITALS: 0, _WORDGAP: 0}
    callback = _collector(chunks)
    encoded = text.encode("utf-8")
    size = ctypes.c_size_t(len(encoded) + 1)
    with _LOCK, _fresh_library() as library:
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(espeak_voice.encode("ascii")) != 0:
            raise ValueError(f"espeak-ng has no voice {espeak_voice!r}; see its `lang` folder")
        for parameter, value in settings.items():
            library.espeak_SetParameter(parameter, value, 0)
        status = library.espeak_Synth(encoded, size, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        if status != 0 or library.espeak_Synchronize() != 0:
            raise RuntimeError(f"espeak-ng failed (status {status}) on {text!r} as {espeak_voice}")
    return np.frombuffer(b"".join(chunks), dtype=np.int16)


def _collector(chunks: list[bytes]) -> Any:
    """A callback that appends what espeak-ng speaks to `chunks`."""

    def collect(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    return _Callback(collect)


@contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    """A newly mapped and initialised espeak-ng, unmapped again at the end.

    Flutter, noise and wave phases live in the library's static variables and survive
    `espeak_Terminate`; only unmapping puts them back. It takes a quarter of a millisecond.
    """
    library_path, data_path = _locate()
    library = ctypes.CDLL(library_path)
    try:
        started = library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode("utf-8"), _INITIALIZE_DONT_EXIT
        )
        if started != ESPEAK_RATE:
            raise RuntimeError(
                f"espeak-ng did not start with its data in {data_path}: files are missing, or the "
                "path is longer than the 150 characters it can hold; move the environment"
            )
        # Both generators that espeak-ng draws its noise from.
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(ctypes.c_uint(1))
        yield library
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


def _locate() -> tuple[str, str]:
    """Paths of the shared library and of its data folder."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise UserError(
            "the synthetic corpus needs espeak-ng: pip install 'resyn[demo]'"
        ) from error
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())
