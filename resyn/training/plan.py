"""What is checked and printed before any training starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from resyn.config.base import flatten
from resyn.config.train import TrainConfig
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.storage import open_storage
from resyn.training.checkpoint import CheckpointStore, folder_name, latest_folder
from resyn.training.data import BatchPlan
from resyn.training.zero import check_engine


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """A checked run: its data, its size and where it stands."""

    config: TrainConfig
    reader: ShardReader
    parameters: int
    batch: BatchPlan
    done_steps: int

    @property
    def complete(self) -> bool:
        """True when the output already holds the last step."""
        return self.done_steps >= self.config.steps

    def describe(self) -> str:
        """The plan in a few lines for `--dry-run`."""
        spec, config = self.reader.spec, self.config
        label = " (RANDOM WEIGHTS)" if spec.random_weights else ""
        crop = config.batch.crop_seconds
        part = "" if config.subset == 1 else f", {config.subset:.3g} of it to train on"
        return "\n".join(
            [
                f"method      {config.typed_method.title}, {self.parameters / 1e6:.1f}M parameters",
                f"shards      {config.shards}: {len(self.reader)} segments, "
                f"{self.reader.seconds / 3600:.2f} h{part}, codec {spec.name}{label}",
                f"batch       {self.batch.items} crops of {crop:g} s = "
                f"{self.batch.items * crop:.0f} s, "
                f"{self._workers()} x {self._division()}",
                f"steps       {self.done_steps} of {config.steps} done",
                f"output      {config.output}",
            ]
        )

    def _workers(self) -> str:
        least, most = self.config.run.worker_range
        return f"{most} workers" if least == most else f"{least} to {most} workers, at {most}:"

    def _division(self) -> str:
        """A worker's share of the batch."""
        if self.config.run.use_gpu and self.config.batch.micro_batch == "auto":
            return "as many passes as the GPU's memory asks for"
        return f"{self.batch.accumulation} passes x {self.batch.micro}"


def plan_training(config: TrainConfig) -> TrainPlan:
    """Check everything that can be checked without training.

    Raises UserError for missing shards, columns or output, shards of another codec, a batch that
    the workers cannot share, a start of another kind, and an output that holds another recipe or
    other data.
    """
    for flag in ("shards", "output"):
        if not getattr(config, flag):
            raise UserError(f"--{flag}: give the URI of a folder")
    check_engine(config.run, averaged=config.optim.ema_decay > 0)
    reader = ShardReader(config.shards)
    reader.require(*sorted(config.typed_method.columns))
    if config.codec is not None and config.codec != reader.spec.name:
        raise UserError(
            f"{config.shards}: these shards were made with codec {reader.spec.name!r}, not "
            f"{config.codec!r}; encode again or drop --codec"
        )
    if config.init_from is not None:
        _check_start(config, config.init_from, reader)
    batch = BatchPlan.divide(config.batch, config.run.worker_range[1])
    return TrainPlan(config, reader, count_parameters(config, reader), batch, _done(config, reader))


def _check_start(config: TrainConfig, uri: str, reader: ShardReader) -> None:
    """Raises UserError when the weights at `uri` do not fit the network to be trained."""
    folder = open_storage(latest_folder(uri))
    written = folder.read_json("config.json")
    name = config.typed_method.name
    if written["method"]["name"] != name:
        raise UserError(
            f"--init-from {uri}: holds a model of method {written['method']['name']!r}, not "
            f"{name!r}; start from one of the same method"
        )
    codec = difference(written["codec"], reader.spec.to_dict())
    if codec:
        raise UserError(
            f"--init-from {uri}: made for another codec than the shards' ({codec}); start from a "
            "model of the shards' codec"
        )
    shape = difference(written["model"], config.model.model_dump(mode="json"))
    if shape:
        raise UserError(
            f"--init-from {uri}: its network has another shape (model.{shape}); set the same one"
        )


def count_parameters(config: TrainConfig, reader: ShardReader) -> int:
    """Trainable parameters of the network; nothing is allocated."""
    with torch.device("meta"):
        network = config.typed_method.build_network(reader.spec, config.model)
    return sum(parameter.numel() for parameter in network.parameters())


def _done(config: TrainConfig, reader: ShardReader) -> int:
    """Steps that the output already holds, after a check that they are of this run."""
    store = CheckpointStore(config.output)
    state = store.latest_state()
    if state is not None and state["step"] >= config.steps:
        # Training will not look at it again, so a damaged end would pass for the end.
        state = store.latest_state(verify=True)
    if state is None:
        return 0
    remedy = "choose another --output or delete it"
    if state["recipe"] != config.recipe():
        written = store.storage.read_json(f"{folder_name(state['step'])}/config.json")["train"]
        changes = difference(written, config.model_dump(mode="json"))
        raise UserError(f"{config.output}: holds a run with other settings ({changes}); {remedy}")
    if state["shard_fingerprint"] != reader.fingerprint:
        raise UserError(
            f"{config.output}: holds a run on other shards than {config.shards}; {remedy}"
        )
    return int(state["step"])


def difference(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """Recipe keys whose values differ, as `optim.lr: 0.001 → 0.0003`."""
    before, after = flatten(old), flatten(new)
    places = ("run.", "tracking.", "shards", "output", "codec", "steps", "batch.micro_batch")
    keys = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    return ", ".join(
        f"{k}: {before.get(k)} → {after.get(k)}" for k in keys if not k.startswith(places)
    )
