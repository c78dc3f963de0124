"""Promotion: a version gets an alias, always or when a metric says that it is better."""

from __future__ import annotations

from collections.abc import Callable

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from resyn.config.register import RegisterConfig
from resyn.config.train import TrainConfig
from resyn.errors import RunError, UserError
from resyn.evaluation.metrics import AUDIO_METRICS
from resyn.methods import ResynthesisMethod
from resyn.runtime import tracking_store
from resyn.runtime.models import run_checkpoint
from resyn.runtime.registry import (
    METRIC_TAG,
    WEIGHTS_TAG,
    RegisteredVersion,
    register_model,
    set_alias,
)
from resyn.storage import open_storage
from resyn.training.checkpoint import STATE, latest_folder
from resyn.training.loop import TrainResult

#: Words in a metric's name that mean: less is better.
COSTS = ("loss", "error", "distance", "rtf")


def promote(config: RegisterConfig, say: Callable[[str], None] = print) -> RegisteredVersion:
    """Register what `config` names, unless it is already, and move the alias if it may.

    Raises UserError for a run, folder or metric that is not there, RunError when the store does
    not say who holds the alias.
    """
    uri = tracking_store.tracking_uri(config.tracking_uri)
    client = tracking_store.open_client(uri)
    checkpoint = source(config, client)
    run_id = config.run.partition("@")[0] if config.run else None
    version = _register_once(client, config.name, checkpoint, run_id, say)
    if config.alias and _may_have_alias(client, config, version, say):
        set_alias(config.name, config.alias, version.version, uri)
        say(f"models:/{config.name}@{config.alias} is version {version.version}")
    return version


def check_registration(config: TrainConfig) -> None:
    """Raises UserError when what `config` trains cannot be registered as it asks."""
    name, method = config.tracking.register_as, config.typed_method
    if name is None:
        return
    if not name.strip() or set(name) & set("/:"):
        raise UserError(f"--register {name!r}: a model's name is not empty and has no '/' or ':'")
    if tracking_store.tracking_uri(config.tracking.uri) == tracking_store.OFF:
        raise UserError(
            f"--register {name}: models need a store, and --tracking-uri is "
            f"{tracking_store.OFF}; name a store or drop --register"
        )
    if not isinstance(method, ResynthesisMethod):
        raise UserError(
            f"--register {name}: method {method.name} makes no speech from codes; drop --register"
        )


def register_result(
    config: TrainConfig, result: TrainResult, say: Callable[[str], None] = print
) -> RegisteredVersion | None:
    """Register what a finished run made, unless it is already, if `config` asks for it."""
    tracking = config.tracking
    if tracking.register_as is None:
        return None
    best = result.best if tracking.register_checkpoint == "best" else None
    client = tracking_store.open_client(tracking_store.tracking_uri(tracking.uri))
    checkpoint = best or result.checkpoint
    return _register_once(client, tracking.register_as, checkpoint, result.run_id, say)


def source(config: RegisterConfig, client: MlflowClient) -> str:
    """URI of the checkpoint that is meant."""
    if config.run is not None:
        return run_checkpoint(client, config.run)
    assert config.model is not None
    return latest_folder(config.model)


def higher_is_better(metric: str) -> bool:
    """The direction of a metric: known for those of the evaluation, read from the name else."""
    if metric in AUDIO_METRICS:
        return AUDIO_METRICS[metric].better == "higher"
    return not any(word in metric for word in COSTS)


def _register_once(
    client: MlflowClient,
    name: str,
    checkpoint: str,
    run_id: str | None,
    say: Callable[[str], None],
) -> RegisteredVersion:
    version = _registered(client, name, checkpoint)
    if version is not None:
        say(f"{version.uri} is this checkpoint already")
        return version
    uri = client.tracking_uri
    version = register_model(checkpoint, name, tracking_uri=uri, run_id=run_id)
    say(f"registered {version.uri}")
    return version


def _registered(client: MlflowClient, name: str, checkpoint: str) -> RegisteredVersion | None:
    """The version that holds the weights of `checkpoint`, if there is one."""
    weights = open_storage(checkpoint).read_json(STATE)["sha256"]["model.safetensors"]
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.tags.get(WEIGHTS_TAG) == weights:
            return RegisteredVersion(name, str(version.version))
    return None


def _may_have_alias(
    client: MlflowClient,
    config: RegisterConfig,
    version: RegisteredVersion,
    say: Callable[[str], None],
) -> bool:
    metric = config.if_better
    if metric is None:
        return True
    assert config.alias is not None
    challenger = client.get_model_version(config.name, version.version)
    new = _metric(client, challenger, metric)
    if new is None:
        raise UserError(
            f"--if-better {metric}: {version.uri} has no such metric; "
            f"known: {', '.join(sorted(_metrics(client, challenger))) or 'none'}"
        )
    holder = _holder(client, config.name, config.alias)
    if holder is None or str(holder.version) == version.version:
        return True
    old = _metric(client, holder, metric)
    if old is None:
        say(f"version {holder.version} gives up {config.alias}: it has no {metric} to compare")
        return True
    better = new > old if higher_is_better(metric) else new < old
    if not better:
        say(f"version {holder.version} keeps {config.alias}: {metric} {old:.4g}, here {new:.4g}")
    return better


def _holder(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that has the alias, None when no version has.

    Raises RunError when the store does not say: an outage must not pass for a missing alias.
    """
    try:
        version = client.get_registered_model(name).aliases.get(alias)
        return None if version is None else client.get_model_version(name, version)
    except MlflowException as error:
        cause = str(error).splitlines()[0]
        raise RunError(
            f"models:/{name}@{alias}: the store does not say which version that is ({cause}); "
            "the alias stays where it is; run the same command again"
        ) from error


def _metric(client: MlflowClient, version: ModelVersion, metric: str) -> float | None:
    return _metrics(client, version).get(metric)


def _metrics(client: MlflowClient, version: ModelVersion) -> dict[str, float]:
    """Metrics of a version: its run's last values, overridden by its own tags."""
    values: dict[str, float] = {}
    if version.run_id:
        values |= client.get_run(version.run_id).data.metrics
    return values | {
        key.removeprefix(METRIC_TAG): float(value)
        for key, value in version.tags.items()
        if key.startswith(METRIC_TAG)
    }
