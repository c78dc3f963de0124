"""Settings of training."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator

from resyn.config.base import Settings, fingerprint_of
from resyn.methods import Method, parse_method
from resyn.methods.base import recipe_of
from resyn.models.shape import TransformerShape


def _method(value: Any) -> Any:
    return parse_method(value) if isinstance(value, dict) else value


def _method_tree(method: Any) -> dict[str, Any]:
    return {"name": method.name, **asdict(method)}


def _fraction(value: Any) -> Any:
    """`"1/60"` to a number; what is no fraction is left to the field's own check."""
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value))
        except (ValueError, ZeroDivisionError):
            return value
    return value


#: A part of something, above 0 and up to 1.
Share = Annotated[float, BeforeValidator(_fraction), Field(gt=0, le=1)]

#: Crops of a micro-batch where none is set and no GPU's memory can be measured.
DEFAULT_MICRO_BATCH = 8

#: A method as a setting: `name` and the hyper-parameters of that method.
MethodField = Annotated[Any, BeforeValidator(_method), PlainSerializer(_method_tree)]


def _workers(value: Any) -> int | tuple[int, int]:
    parts = list(value) if isinstance(value, tuple | list) else str(value).split(":")
    counts = [int(part) if str(part).isdecimal() else -1 for part in parts]
    if len(counts) == 1 and counts[0] >= 0:
        return counts[0]
    if len(counts) == 2 and 1 <= counts[0] <= counts[1]:
        return counts[0], counts[1]
    raise ValueError("write a number, or the fewest (at least 1) and the most as 2:8")


def _workers_text(value: int | tuple[int, int]) -> int | str:
    return value if isinstance(value, int) else f"{value[0]}:{value[1]}"


#: A fixed number of workers, or (fewest, most), written `2:8`; in YAML `[2, 8]`, because it takes
#: 2:8 for a time of day.
WorkerCount = Annotated[
    int | tuple[int, int], PlainValidator(_workers), PlainSerializer(_workers_text)
]


class OptimSettings(Settings):
    """AdamW with linear warm-up and linear decay to zero (paper, appendix A.1)."""

    lr: float = Field(default=5e-4, gt=0)
    """Peak learning rate."""
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = Field(default=32_000, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest global gradient norm."""
    ema_decay: float = Field(default=0.9999, ge=0, lt=1)
    """Decay of the averaged weights; 0 turns them off."""


class BatchSettings(Settings):
    """Crops. The batch is global: world size and accumulation never change it."""

    batch_seconds: float = Field(default=800.0, gt=0)
    """Audio per optimiser step over all workers, in seconds."""
    crop_seconds: float = Field(default=8.0, gt=0)
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Most crops per forward pass of one worker. `auto`: on a GPU as many as its memory takes,
    measured at the start; 8 on a CPU and for method `codec`. Part of no recipe: time and memory
    depend on it, and beyond rounding nothing else but the codebooks of method `codec`, which move
    with every forward pass."""
    shuffle_window: int = Field(default=16, ge=1)
    """Shards that examples are drawn from at a time; as many are held in memory."""

    @property
    def micro_limit(self) -> int:
        """`micro_batch` as a number; what `auto` means before anything was measured."""
        return DEFAULT_MICRO_BATCH if self.micro_batch == "auto" else self.micro_batch


class RunSettings(Settings):
    """How a run is carried out; no part of the recipe, so never of the fingerprint."""

    engine: Literal["deepspeed", "torch"] = "deepspeed"
    zero_stage: int = Field(default=1, ge=0, le=3)
    deepspeed_config: dict[str, Any] | str | None = None
    """A DeepSpeed JSON file such as `cluster/deepspeed/zero2.json`, or its content; it overrides
    `zero_stage`."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the Transformer's layers with torch.compile; `auto` does so on a GPU."""
    profile: int = Field(default=0, ge=0)
    """Steps to time part by part, and as many again to trace, into `<output>/profile/`."""
    num_workers: WorkerCount = 1
    """Ray Train workers; 0 trains in this process, without Ray; `2:8` takes what there is."""
    worker_timeout: float = Field(default=1800.0, gt=0)
    """Seconds to wait for workers that the cluster has no room for, at the start or later on."""
    use_gpu: bool = False
    threads_per_worker: int = Field(default=2, ge=1)
    """CPU threads of one worker."""
    checkpoint_every: int = Field(default=1000, ge=1)
    """Steps between checkpoints."""
    checkpoint_minutes: float | None = Field(default=None, gt=0)
    """Minutes without a checkpoint after which one is taken between those; None: never."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints that are kept; the best one is kept beside them."""
    best_metric: (
        Literal["validation_latent_error", "validation_loss", "validation_estoi"] | None
    ) = None
    """What makes a checkpoint the best; None: the latent error, or the loss without latents."""
    validate_every: int | None = Field(default=None, ge=1)
    """Steps between validations; None: `checkpoint_every`. The last step is always validated."""
    validation_utterances: int = Field(default=4, ge=0)
    """Held-out crops whose ESTOI is measured in a validation, where the codec can be had."""
    codec_weights: str | None = None
    """Weights of the shards' codec, for that ESTOI; None: the codec's own."""
    log_every: int = Field(default=20, ge=1)
    stop_at_step: int | None = Field(default=None, ge=1)
    """Step after which this call ends, with a checkpoint; the schedule stays that of `steps`."""
    max_failures: int = Field(default=8, ge=0)
    """Lost or failed workers, and outages of the store, before the run is given up; machines taken
    away by notice or by the cloud do not count."""
    cache_dir: str | None = None
    """Folder on each machine for shards of an object store; None takes one below its folder for
    temporary files."""
    cache_gb: float = Field(default=20.0, ge=0)
    """Size of that folder in gigabytes (10^9 bytes); 0 reads from the store alone."""
    load_ahead: int = Field(default=4, ge=1)
    """Steps whose batches are loaded while earlier ones are trained on, in as many threads."""

    @property
    def worker_range(self) -> tuple[int, int]:
        """The fewest and the most workers; (1, 1) for none but this process."""
        if isinstance(self.num_workers, int):
            return max(1, self.num_workers), max(1, self.num_workers)
        return self.num_workers


class TrackingSettings(Settings):
    """MLflow."""

    uri: str | None = None
    """Tracking server; None means MLFLOW_TRACKING_URI, else `mlflow.db` in the working folder."""
    experiment: str = "resyn"
    register_as: str | None = None
    """Name of the registered model, if the result is to be registered."""
    register_checkpoint: Literal["latest", "best"] = "latest"
    """Which of the run's checkpoints is registered."""
    system_metrics: bool = True
    """Record use of CPU, memory, disk, network and GPUs of the first worker's machine."""
    parent_run_id: str | None = None
    """The sweep's run, for a trial."""


class TrainConfig(Settings):
    """One training run, whole."""

    method: MethodField
    shards: str = ""
    """URI of the encoded data set."""
    output: str = ""
    """URI of the run's folder; checkpoints lie in `checkpoints/`."""
    init_from: str | None = None
    """Checkpoint or run whose averaged weights a fresh run starts from; None starts at random."""
    codec: str | None = None
    """Expected codec of the shards; None accepts what they were made with."""
    model: TransformerShape = TransformerShape()
    optim: OptimSettings = OptimSettings()
    batch: BatchSettings = BatchSettings()
    subset: Share = 1.0
    """Share of the training segments that are used, as `1/60` or a number; 1 is all of them."""
    steps: int = Field(default=1_000_000, ge=1)
    seed: int = 0
    run: RunSettings = RunSettings()
    tracking: TrackingSettings = TrackingSettings()

    def recipe(self) -> str:
        """Fingerprint of what a step depends on: not places, workers, tracking or micro-batches.

        Nor the number of steps: a finished run may be extended, and its rate then decays anew
        towards the new end.
        """
        apart = {"method", "run", "tracking", "output", "shards", "codec", "steps"}
        tree = self.model_dump(mode="json", exclude=apart)
        tree["batch"]["micro_batch"] = DEFAULT_MICRO_BATCH
        return fingerprint_of(tree | {"method": recipe_of(self.typed_method)})

    @property
    def typed_method(self) -> Method:
        """The method, with its type."""
        return self.method

    @property
    def last_step(self) -> int:
        """Where a call ends: at `steps`, or earlier at `run.stop_at_step`."""
        return min(self.steps, self.run.stop_at_step or self.steps)
