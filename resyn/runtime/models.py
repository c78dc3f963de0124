"""What a `--model` names: a checkpoint's folder, a run, or a registered version."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from resyn.errors import UserError
from resyn.runtime import tracking_store
from resyn.runtime.registry import CHECKPOINT, fetch_checkpoint
from resyn.storage import open_storage
from resyn.training.checkpoint import STATE, latest_folder


def resolve_model(uri: str, tracking_uri: str | None = None) -> str:
    """A local folder that holds the checkpoint (`config.json` and the rest) named by `uri`.

    `uri` is a checkpoint or the folder of a run, local or in an object store; `runs:/<run id>`
    for the newest checkpoint of an MLflow run, `runs:/<run id>/<name>` for a model or artifact of
    it; or `models:/name@alias` and `models:/name/version`. Of a folder or a run, `@best` behind it
    means the best checkpoint instead. Raises UserError that names what there is.
    """
    scheme, _, rest = uri.partition(":/")
    if scheme not in ("runs", "models"):
        return _local(latest_folder(uri))
    store = tracking_store.tracking_uri(tracking_uri)
    client = tracking_store.open_client(store)
    path = rest.strip("/")
    try:
        if scheme == "models":
            location = _version_location(client, path)
        elif "/" in path:
            location = _artifact_location(client, *path.split("/", 1))
        else:
            return _local(run_checkpoint(client, path))
        folder = Path(download_artifacts(artifact_uri=location, tracking_uri=store))
    except (MlflowException, OSError) as error:
        known = _known_models(client) if scheme == "models" else "name a model of an existing run"
        raise UserError(f"--model {uri}: not in {store}; {known}") from error
    for candidate in (folder, folder / "artifacts" / CHECKPOINT):
        if (candidate / STATE).is_file():
            return str(candidate)
    raise UserError(f"--model {uri}: no checkpoint of resyn inside; it was made by something else")


def checkpoint_digest(folder: str) -> str:
    """sha256 that names the checkpoint in `folder` by all that it holds."""
    # The commit record holds the digests of all other files.
    return hashlib.sha256(open_storage(folder).read_bytes(STATE)).hexdigest()


def run_checkpoint(client: MlflowClient, run_id: str) -> str:
    """URI of a training run's newest checkpoint, found through its parameter `output`.

    Of its best one for `<run_id>@best`.
    """
    run_id, at, which = run_id.partition("@")
    try:
        output = client.get_run(run_id).data.params.get("output")
    except MlflowException as error:
        raise UserError(f"run {run_id}: {str(error).splitlines()[0]}") from error
    if not output:
        raise UserError(f"run {run_id}: no training run of resyn (it has no parameter `output`)")
    return latest_folder(f"{output}{at}{which}")


# MLflow resolves `models:/` and `runs:/` through the process's current store, whatever it is told;
# so these ask our client.
def _version_location(client: MlflowClient, path: str) -> str:
    """Where the files of `name@alias` or `name/version` are."""
    name, at, alias = path.partition("@")
    if at:
        version = str(client.get_model_version_by_alias(name, alias).version)
    else:
        name, _, version = path.partition("/")
    return client.get_model_version_download_uri(name, version)


def _artifact_location(client: MlflowClient, run_id: str, name: str) -> str:
    """Where the model or artifact `name` of a run is."""
    run = client.get_run(run_id)
    for output in run.outputs.model_outputs if run.outputs else []:
        model = client.get_logged_model(output.model_id)
        if model.name == name:
            return model.artifact_location
    return f"{run.info.artifact_uri}/{name}"


def _known_models(client: MlflowClient) -> str:
    """`registered: resyn-sb (champion -> 3)`, or that nothing is."""
    listed = []
    for model in client.search_registered_models():
        aliases = ", ".join(f"{alias} -> {number}" for alias, number in model.aliases.items())
        listed.append(f"{model.name} ({aliases})" if aliases else model.name)
    return f"registered: {', '.join(listed)}" if listed else "nothing is registered there"


def _local(uri: str) -> str:
    """The folder itself, or a copy of one in an object store."""
    storage = open_storage(uri)
    if storage.is_local:
        return storage.root
    return str(fetch_checkpoint(storage, Path(tempfile.mkdtemp(prefix="resyn-model-"))))
