"""The codec of one actor: loaded once, checked against what the run was planned with, kept."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, simplefilter

import pyarrow as pa
import torch

from resyn.codec import Codec, CodecSpec, load_codec
from resyn.codec.arithmetic import CompileWarning, exact_float32
from resyn.config.encode import EncodeConfig
from resyn.data.encode import BatchShape, encode_unit
from resyn.errors import RunError
from resyn.runtime.codec_actors import CodecActors
from resyn.runtime.memory import keep_freed_memory
from resyn.storage_faults import first_line


class ActorCodec:
    """The codec `spec` as `config` and `actors` want it. Changes settings of the whole process.

    What goes wrong with loading is raised by the first `encode`: Ray would start another actor in
    place of one that dies while it starts.
    """

    def __init__(self, spec: CodecSpec, config: EncodeConfig, actors: CodecActors) -> None:
        keep_freed_memory()
        exact_float32()
        torch.set_num_threads(config.threads_per_actor)
        self._columns, self._actors = config.columns, actors
        self._shape = BatchShape(actors.batch_size, actors.bucket_seconds)
        self._codec: Codec | None = None
        self._fault: Exception | None = None
        try:
            with _gpu_faults(actors):
                self._codec = _load(spec, config, actors)
        except Exception as error:
            self._fault = error

    def encode(self, table: pa.Table) -> tuple[pa.Table, list[str]]:
        """`encode_unit`, and what is to be told to the user.

        Raises UserError or RunError when the codec could not be loaded, and RunError when the GPU
        has no room.
        """
        if self._codec is None:
            raise self._fault or RunError("the codec was not loaded")
        with catch_warnings(record=True) as caught, _gpu_faults(self._actors):
            simplefilter("always", CompileWarning)
            table = encode_unit(self._codec, table, self._columns, self._shape)
        ours = (warning for warning in caught if issubclass(warning.category, CompileWarning))
        return table, [str(warning.message) for warning in ours]


def _load(spec: CodecSpec, config: EncodeConfig, actors: CodecActors) -> Codec:
    host = socket.gethostname()
    if actors.device == "cuda" and not torch.cuda.is_available():
        raise RunError(
            f"--device cuda: torch {torch.__version__} cannot use the GPU of {host}; look there "
            "with nvidia-smi, or use --device cpu"
        )
    codec = load_codec(
        config.codec,
        config.codec_weights,
        actors.device,
        actors.options,
        sha256=spec.weights_sha256,
        cache=config.weights_cache,
    )
    if codec.spec != spec:
        raise RunError(
            f"--codec {spec.name}: {host} found weights {codec.spec.weights_sha256[:12]}, the "
            f"driver {spec.weights_sha256[:12]}; name one file for all machines with "
            "--codec-weights"
        )
    return codec


@contextmanager
def _gpu_faults(actors: CodecActors) -> Iterator[None]:
    """Turns a GPU without room into RunError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = max(1, actors.batch_size // 2)
        raise RunError(
            f"--device cuda: the GPU of {socket.gethostname()} has no room for a codec actor "
            f"({first_line(error)}); encode less at once (--set batch_size={smaller}) or put fewer "
            "actors on a GPU (--num-gpus-per-actor 1), then run the same command again"
        ) from None
