"""Audio in and out: bytes to mono float32 and back, at any rate."""

from resyn.audio.faults import AudioFault, FaultCode
from resyn.audio.io import AudioInfo, decode, probe, read_audio
from resyn.audio.resample import resample
from resyn.audio.stream import AudioStream
from resyn.audio.write import encode_flac, from_pcm16, to_pcm16, write_wav

__all__ = [
    "AudioFault",
    "AudioInfo",
    "AudioStream",
    "FaultCode",
    "decode",
    "encode_flac",
    "from_pcm16",
    "probe",
    "read_audio",
    "resample",
    "to_pcm16",
    "write_wav",
]
