"""The model registry: a checkpoint becomes a version that anyone with MLflow and resyn can load."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import Model
from mlflow.tracking import MlflowClient
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from resyn.codec import CodecSpec
from resyn.errors import UserError
from resyn.methods import ResynthesisMethod, parse_method, sampling_settings
from resyn.runtime import tracking_store
from resyn.storage import Storage, open_storage
from resyn.training.checkpoint import STATE, latest_folder
from resyn.training.model_card import model_card

#: The checkpoint's place inside a registered model.
CHECKPOINT = "checkpoint"
#: Prefix of a version's tags that hold its metrics.
METRIC_TAG = "metric."
#: A version's tag that names its weights, and so tells a checkpoint that is registered already.
WEIGHTS_TAG = "weights_sha256"
#: What the model imports; by name and version, so that a model server can tell what it lacks.
REQUIREMENTS = ("resyn", "mlflow", "torch", "torchaudio", "encodec", "numpy", "safetensors")

_PARAM_TYPES = {str: DataType.string, float: DataType.double, int: DataType.long}


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version in the registry; `uri` (`models:/name/3`) loads it."""

    name: str
    version: str

    @property
    def uri(self) -> str:
        """What MLflow and every `--model` take."""
        return f"models:/{self.name}/{self.version}"


def register_model(
    directory: str,
    name: str,
    *,
    tracking_uri: str | None = None,
    run_id: str | None = None,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> RegisteredVersion:
    """Register the checkpoint at the URI `directory` (or a run's newest) as a version of `name`.

    `run_id` is the MLflow run that made it. `metrics` (by default those of its last validation)
    become tags, by which versions are compared. Raises UserError for a folder without a
    checkpoint, a method that makes no speech from codes, or a store that refuses.
    """
    folder = open_storage(latest_folder(directory))
    uri = tracking_store.tracking_uri(tracking_uri)
    client = tracking_store.open_client(uri)
    state = folder.read_json(STATE)
    shown = dict(state.get("metrics", {}) if metrics is None else metrics)
    marks = {f"{METRIC_TAG}{key}": repr(float(value)) for key, value in shown.items()}
    marks |= {"checkpoint": folder.uri, WEIGHTS_TAG: state["sha256"]["model.safetensors"]}
    card = model_card(folder.uri, shown)
    try:
        logged = _log_model(client, folder, name, run_id, card)
        made = _create_version(client, name, logged, {**marks, **(tags or {})}, card)
        if alias:
            client.set_registered_model_alias(name, alias, made.version)
    except MlflowException as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"cannot register {name!r} at {uri}: {cause}") from error
    return made


def fetch_checkpoint(folder: Storage, into: Path) -> Path:
    """A local copy of a checkpoint at `into`, without the optimiser's moments."""
    into.mkdir(parents=True, exist_ok=True)
    for name in folder.names():
        if not name.startswith("optimizer"):
            folder.fs.get_file(folder.path(name), str(into / name))
    return into


def set_alias(name: str, alias: str, version: str, tracking_uri: str | None = None) -> None:
    """Point `alias` of the model `name` at `version`. Raises UserError when there is no such."""
    client = tracking_store.open_client(tracking_store.tracking_uri(tracking_uri))
    try:
        client.set_registered_model_alias(name, alias, version)
    except MlflowException as error:
        raise UserError(f"models:/{name}/{version}: {str(error).splitlines()[0]}") from error


def _log_model(
    client: MlflowClient, folder: Storage, name: str, run_id: str | None, card: str
) -> LoggedModel:
    """Store the checkpoint in `folder` as an MLflow model, beside its run if it has one."""
    config = folder.read_json("config.json")
    method, spec = parse_method(config["method"]), CodecSpec(**config["codec"])
    if not isinstance(method, ResynthesisMethod):
        raise UserError(f"{folder.uri}: method {method.name} makes no speech from codes")
    experiment = (
        client.get_run(run_id).info.experiment_id
        if run_id
        else tracking_store.experiment_id(client, "resyn")
    )
    logged = client.create_logged_model(experiment, name=name, source_run_id=run_id)
    with tempfile.TemporaryDirectory(prefix="resyn-register-") as scratch:
        staged = fetch_checkpoint(folder, Path(scratch, CHECKPOINT))
        (staged / "README.md").write_text(card)
        model = _save_pyfunc(logged, staged, method, spec)
        client.log_model_artifacts(logged.model_id, str(model))
    return client.finalize_logged_model(logged.model_id, "READY")


def _save_pyfunc(
    logged: LoggedModel, staged: Path, method: ResynthesisMethod, spec: CodecSpec
) -> Path:
    """The MLflow model around a staged checkpoint, as a folder beside it.

    Not by `mlflow.pyfunc.log_model`, which works on the process's current store, experiment and
    run; several runs may be open here.
    """
    for noisy in ("mlflow.pyfunc", "mlflow.utils.environment"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    local = staged.with_name("model")
    mlflow.pyfunc.save_model(
        path=str(local),
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={CHECKPOINT: str(staged)},
        signature=model_signature(method, spec),
        input_example=np.zeros((method.num_coarse, round(spec.frame_rate)), dtype=np.int64),
        pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
        model_config={"device": "cpu", "weights": "ema", "codec_weights": None},
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=logged.source_run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        ),
    )
    return local


def model_signature(method: ResynthesisMethod, spec: CodecSpec) -> ModelSignature:
    """Codes (c,T) int64 to samples (S,) float32; `nfe`, `seed` and the sampling settings."""
    settings = {name: getattr(method, name) for name in sorted(sampling_settings(method))}
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.int64), (-1, -1))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1,))]),
        params=ParamSchema(
            [
                ParamSpec("nfe", DataType.long, method.default_nfe(spec)),
                ParamSpec("seed", DataType.long, 0),
                *(ParamSpec(k, _PARAM_TYPES[type(v)], v) for k, v in settings.items()),
            ]
        ),
    )


def _create_version(
    client: MlflowClient, name: str, logged: LoggedModel, tags: dict[str, str], card: str
) -> RegisteredVersion:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run_id = logged.source_run_id
    if run_id:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    # A server wants the model's id and finds the files; for SQLite, MLflow would look the id up
    # in the process's current store, which may be another one.
    remote = client.tracking_uri.startswith("http")
    made = client.create_model_version(
        name,
        source=f"models:/{logged.model_id}" if remote else logged.artifact_location,
        run_id=run_id,
        tags=tags,
        description=card,
        model_id=logged.model_id if remote or run_id else None,
    )
    return RegisteredVersion(name, str(made.version))
