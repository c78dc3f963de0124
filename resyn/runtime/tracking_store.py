"""Where MLflow keeps runs, artifacts and models: a SQLite file, or a server."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from resyn.errors import UserError

OFF = "off"


def tracking_uri(setting: str | None, folder: str | Path = ".") -> str:
    """Where runs are recorded: `setting`, else MLFLOW_TRACKING_URI, else SQLite in `folder`.

    A SQLite path comes back absolute, because workers run elsewhere; "off" records nothing.
    Raises UserError for a plain folder, in which MLflow no longer keeps runs.
    """
    uri = setting or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}/mlflow.db"
    scheme = urlsplit(uri).scheme
    if uri == OFF or scheme not in ("", "file", "sqlite"):
        return uri
    if scheme != "sqlite":
        raise UserError(
            f"--tracking-uri {uri}: MLflow keeps no runs in plain folders any more; "
            "use sqlite:///path/mlflow.db or http://server:5000"
        )
    return f"sqlite:///{os.path.abspath(_database(uri))}"


def prepare_store(uri: str) -> None:
    """Create the tables of a SQLite store once, before several processes open it together.

    MLflow's own first opening is a race (two migrations of one file); a lock beside the file
    settles it. Raises UserError for a file that is none or that another MLflow made.
    """
    if not uri.startswith("sqlite:"):
        return
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    file = _database(uri)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_name(f"{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except MlflowException as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"{uri}: {cause}; `mlflow db upgrade {uri}` may mend it") from error
    except Exception as error:  # SQLAlchemy and the file system each have their own kinds.
        cause = str(error).splitlines()[0]
        raise UserError(f"{uri}: cannot hold an MLflow store ({cause})") from error


def open_client(uri: str) -> MlflowClient:
    """A client of the store and registry at `uri`, leaving MLflow's global settings alone.

    Raises UserError for "off" and for a SQLite file that cannot hold a store.
    """
    if uri == OFF:
        raise UserError(f"--tracking-uri {OFF}: models need a store; name one")
    prepare_store(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment `name`, made when it is missing.

    Beside a SQLite store the artifacts go to the folder `mlartifacts`; a server has its own place.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    uri = client.tracking_uri
    local = uri.startswith("sqlite:")
    location = (_database(uri).parent / "mlartifacts").as_uri() if local else None
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return found.experiment_id  # Another process was quicker.


def _database(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))
