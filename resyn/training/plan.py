"""What is checked and printed before any training starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from resyn.config.base import flatten
from resyn.config.train import TrainConfig
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.training.checkpoint import CheckpointStore, latest_folder
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
        return "\n".join(
            [
                f"method      {config.typed_method.title}, {self.parameters / 1e6:.1f}M parameters",
                f"shards      {config.shards}: {len(self.reader)} segments, "
                f"{self.reader.seconds / 3600:.2f} h, codec {spec.name}{label}",
                f"batch       {self.batch.items} crops of {crop:g} s = "
                f"{self.batch.items * crop:.0f} s, "
                f"{max(1, config.run.num_workers)} workers x {self._division()}",
                f"steps       {self.done_steps} of {config.steps} done",
                f"output      {config.output}",
            ]
        )

    def _division(self) -> str:
        """A worker's share of the batch."""
        if self.config.run.use_gpu and self.config.batch.micro_batch == "auto":
            return "as many accumulations as the GPU's memory asks for"
        return f"{self.batch.accumulation} accumulations x {self.batch.micro}"


def plan_training(config: TrainConfig) -> TrainPlan:
    """Check everything that can be checked without training.

    Raises UserError for missing shards, columns or output, shards of another codec, a batch that
    the workers cannot share, and an output that holds another recipe or other data.
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
        latest_folder(config.init_from)
    batch = BatchPlan.divide(config.batch, max(1, config.run.num_workers))
    return TrainPlan(config, reader, count_parameters(config, reader), batch, _done(config, reader))


def count_parameters(config: TrainConfig, reader: ShardReader) -> int:
    """Trainable parameters of the network; nothing is allocated."""
    with torch.device("meta"):
        network = config.typed_method.build_network(reader.spec, config.model)
    return sum(parameter.numel() for parameter in network.parameters())


def _done(config: TrainConfig, reader: ShardReader) -> int:
    """Steps that the output already holds, after a check that they are of this run."""
    store = CheckpointStore(config.output)
    state = store.latest_state()
    if state is None:
        return 0
    remedy = "choose another --output or delete it"
    if state["recipe"] != config.recipe():
        written = store.storage.read_json(f"{store.folders()[-1]}/config.json")["train"]
        changes = difference(written, config.model_dump(mode="json"))
        raise UserError(f"{config.output}: holds a run with other settings ({changes}); {remedy}")
    if state["shard_fingerprint"] != reader.fingerprint:
        raise UserError(
            f"{config.output}: holds a run on other shards than {config.shards}; {remedy}"
        )
    return int(state["step"])


def difference(old: dict[str, object], new: dict[str, object]) -> str:
    """Recipe keys whose values differ, as `optim.lr: 0.001 → 0.0003`."""
    before, after = flatten(old), flatten(new)
    places = ("run.", "tracking.", "shards", "output", "codec", "steps", "batch.micro_batch")
    keys = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    return ", ".join(
        f"{k}: {before.get(k)} → {after.get(k)}" for k in keys if not k.startswith(places)
    )
