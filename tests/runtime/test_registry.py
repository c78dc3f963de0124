"""From a checkpoint to a version that anyone can load, and what `--model` may name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resyn.codec import CodecSpec
from resyn.errors import UserError
from resyn.methods import ResynthesisMethod, parse_method
from resyn.resynthesis import Resynthesizer
from resyn.runtime.models import resolve_model
from resyn.runtime.registry import model_signature, register_model
from resyn.runtime.tracking import Tracker
from resyn.runtime.tracking_store import open_client
from resyn.training.model_card import model_card

CODES = np.arange(20, dtype=np.int64)[None]

LOAD = """
import sys
import numpy as np
import mlflow
codes = np.arange(20, dtype=np.int64)[None]
model = mlflow.pyfunc.load_model("models:/resyn-sb@champion")
first = model.predict(codes, params={"nfe": 4, "seed": 1})
again = model.predict(codes, params={"nfe": 4, "seed": 1})
other = model.predict(codes, params={"nfe": 4, "seed": 2})
assert first.dtype == np.float32 and first.shape == (20 * 320,), (first.dtype, first.shape)
assert np.array_equal(first, again) and not np.array_equal(first, other)
assert np.array_equal(model.predict(codes), model.predict(codes, params={"seed": 0}))
spread = model.predict(codes, params={"nfe": 4, "seed": 1, "grid": "sigma"})
assert not np.array_equal(spread, first)
try:
    model.predict(codes, params={"guidance": 2.0})
except Exception as error:
    assert "condition_dropout" in str(error), error
else:
    raise AssertionError("guidance of a model that never went without its condition")
np.save(sys.argv[1], first)
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"ray", "deepspeed"}, loaded & {"ray", "deepspeed"}
"""


def test_the_champion_speaks_where_there_is_no_cluster(
    trained: Path, store_uri: str, tmp_path: Path
):
    register_model(str(trained), "resyn-sb", tracking_uri=store_uri, alias="champion")
    saved = tmp_path / "samples.npy"
    environment = {"MLFLOW_TRACKING_URI": store_uri, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", LOAD, saved],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    here = Resynthesizer.from_checkpoint(str(trained)).resynthesize(CODES, nfe=4, seed=1)
    np.testing.assert_allclose(np.load(saved), here.samples, atol=1e-5)


def test_a_version_carries_card_signature_metrics_and_no_moments(trained: Path, store_uri: str):
    tracker = Tracker(store_uri)
    run_id = tracker.start({"output": str(trained)}, {})
    made = register_model(
        str(trained), "resyn-sb", tracking_uri=store_uri, run_id=run_id, tags={"data": "tones"}
    )
    client = open_client(store_uri)
    version = client.get_model_version(made.name, made.version)
    assert version.run_id == run_id
    assert version.tags["data"] == "tones"
    assert float(version.tags["metric.loss"]) > 0
    assert "Schrödinger Bridge" in version.description
    folder = Path(resolve_model(made.uri, store_uri))
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "config.json", "ema.safetensors", "model.safetensors"} <= names
    assert not any(name.startswith("optimizer") for name in names)
    requirements = (folder.parents[1] / "requirements.txt").read_text()
    assert "resyn==" in requirements
    assert "://" not in requirements
    assert not {"ray", "deepspeed"} & {line.split("==")[0] for line in requirements.splitlines()}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("sb", {"grid": "uniform", "start": "x1", "guidance": 1.0}),
        ("c2f", {"temperature": 0.0, "top_k": 0, "decoding_steps": 1}),
        ("onestep", {}),
    ],
)
def test_a_signature_lists_the_sampling_settings_with_their_defaults(
    method: str, settings: dict[str, object]
):
    spec = CodecSpec("test", "0", 24_000, 320, 6, 8, 16)
    made = parse_method({"name": method})
    assert isinstance(made, ResynthesisMethod)
    params = {param.name: param.default for param in model_signature(made, spec).params.params}
    assert {"nfe": made.default_nfe(spec), "seed": 0} | settings == params


def test_every_way_to_name_a_model_leads_to_the_same_weights(trained: Path, store_uri: str):
    tracker = Tracker(store_uri)
    run_id = tracker.start({"output": str(trained)}, {})
    register_model(
        str(trained), "resyn-sb", tracking_uri=store_uri, run_id=run_id, alias="champion"
    )
    newest = sorted((trained / "checkpoints").iterdir())[-1]
    uris = [
        str(trained),
        str(newest),
        newest.as_uri(),
        f"runs:/{run_id}",
        f"runs:/{run_id}/resyn-sb",
        "models:/resyn-sb@champion",
        "models:/resyn-sb/1",
    ]
    states = [json.loads(Path(resolve_model(u, store_uri), "state.json").read_text()) for u in uris]
    assert all(state == states[0] for state in states)


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("models:/resyn-sb@best", "resyn-sb (champion -> 1)"),
        ("models:/nobody/1", "resyn-sb (champion -> 1)"),
        ("runs:/" + "0" * 32, "0" * 32),
        ("nowhere", "nowhere"),
    ],
)
def test_a_wrong_name_says_what_there_is(
    uri: str, named: str, trained: Path, store_uri: str, tmp_path: Path
):
    register_model(str(trained), "resyn-sb", tracking_uri=store_uri, alias="champion")
    with pytest.raises(UserError) as caught:
        resolve_model(uri, store_uri)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_checkpoint_has_no_card(tmp_path: Path):
    with pytest.raises(UserError, match=str(tmp_path)):
        model_card(str(tmp_path))
