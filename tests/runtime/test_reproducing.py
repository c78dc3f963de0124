"""The reproduction from shards to its page, on seconds of tones."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from resyn.config.reproduce import PARTS, ReproduceConfig, reproduce_config
from resyn.errors import UserError
from resyn.evaluation.paper import load_paper
from resyn.runtime.reproducing import Reproducer
from resyn.runtime.reproduction_plan import best_mark
from tests.tiny_shards import write_tiny_shards


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the demo's codec; the audio lies beside them."""
    return write_tiny_shards(tmp_path_factory.mktemp("spoken"), "demo_24khz")


def settings(spoken: Path, output: Path, **more: object) -> ReproduceConfig:
    """The paper's scale in name, on the debug preset, without Ray and MLflow."""
    values = {
        "scale": "paper",
        "preset": "debug",
        "shards": str(spoken),
        "evaluate.input": str(spoken.parent / "audio"),
        "output": str(output),
        "steps": {"onestep": 2, "sb": 2, "c2f": 2},
        "subset_steps": {"onestep": 4, "sb": 3, "c2f": 3},
        "run.checkpoint_every": 2,
        "subset": "1/3",
        "evaluate.nfe": "1,7",
        "evaluate.metrics": "si_snr,estoi,log_mel,sharpness,latent_error,rtf",
        "evaluate.max_utterances": 2,
        "run.engine": "torch",
        "run.num_workers": 0,
        "run.threads_per_worker": 1,
        "tracking.uri": "off",
        "evaluate.run.workers": 0,
        "evaluate.run.threads": 1,
    }
    return reproduce_config(values | more)


@pytest.fixture(scope="module")
def reproduced(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished reproduction. Its tests must not write into it."""
    output = tmp_path_factory.mktemp("reproduced")
    Reproducer(settings(spoken, output)).run()
    return output


def test_every_model_is_trained_and_ends_in_page_text_and_data(reproduced: Path):
    runs = {path.name for path in (reproduced / "runs").iterdir()}
    assert runs == {f"{m}{s}" for m in ("onestep", "sb", "c2f") for s in ("", "-subset")}
    made = json.loads((reproduced / "reproduction" / "reproduction.json").read_text())
    assert made["what"] == list(PARTS)
    assert [model["data"] for model in made["models"]] == ["10 s in 5 segments"] * 3 + [
        "4 s in 2 segments"
    ] * 3
    assert {row["metric"] for row in made["table2"]} >= {"wer", "sim", "estoi", "log_mel"}
    assert all(finding["evidence"] for finding in made["findings"])
    sources = {finding["source"].split(",")[0] for finding in made["findings"]}
    assert {"Table 1", "Table 2", "Fig. 2", "Fig. 3"} <= sources


def test_the_page_shows_all_four_with_the_papers_numbers_and_no_network(reproduced: Path):
    page = (reproduced / "reproduction" / "index.html").read_text()
    text = (reproduced / "reproduction" / "reproduction.md").read_text()
    for anchor in ("findings", "table1", "table2", "fig2", "fig3", "details"):
        assert f'id="{anchor}"' in page
        assert f'href="#{anchor}"' in page
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)
    paper = load_paper()
    for row in paper.table1:
        for name, value in row.values.items():
            assert paper.metrics[name].text(value) in page
            assert paper.metrics[name].text(value) in text
    for difference in ("other codec: demo_24khz", "2 steps in place of a million", "of LibriLight"):
        assert difference in page
        assert difference in text
    assert "WER has no value here: not computed here" in page
    assert str(reproduced) not in page + text
    links = re.findall(r'href="([^"#:]+)"', page)
    assert links
    assert all((reproduced / "reproduction" / link).is_file() for link in links)


def test_table_2_has_its_own_steps_and_scores_one_step_at_its_best(reproduced: Path):
    made = json.loads((reproduced / "reproduction" / "reproduction.json").read_text())
    assert [model["steps"] for model in made["models"]] == [2, 2, 2, 4, 3, 3]
    scored = [model["scored"] for model in made["models"]]
    best = best_mark(str(reproduced / "runs" / "onestep-subset"))
    assert best is not None
    step = int(best.checkpoint.removeprefix("step-"))
    told = f"best checkpoint by latent error on training speech held out (step {step})"
    assert scored == ["last checkpoint"] * 3 + [told] + ["last checkpoint"] * 2
    results = json.loads((reproduced / "reproduction" / "subset" / "results.json").read_text())
    state = reproduced / "runs" / "onestep-subset" / "checkpoints" / best.checkpoint / "state.json"
    digests = {model["method"]: model["fingerprint"] for model in results["models"]}
    assert digests["onestep"] == hashlib.sha256(state.read_bytes()).hexdigest()
    page = (reproduced / "reproduction" / "index.html").read_text()
    assert f"One-step regression, {told}" in page
    assert "Table 2, One-step regression: 4 s in 2 segments in place of 960 h" in page
    assert "4 steps in place of half a million" in page


def test_what_was_not_checked_is_not_called_the_papers(reproduced: Path):
    made = json.loads((reproduced / "reproduction" / "reproduction.json").read_text())
    for told in (
        "the evaluation set is the one given, not checked to be LibriSpeech test-clean",
        "the training speech is that of the shards given, not checked to be LibriLight",
        "scored on at most 2 of the utterances",
    ):
        assert told in made["differences"]
        assert told in (reproduced / "reproduction" / "index.html").read_text()


def test_fig_3_says_what_is_intrusive_and_why_a_metric_is_missing(reproduced: Path):
    page = (reproduced / "reproduction" / "index.html").read_text()
    figure = page[page.index('<section id="fig3">') :]
    captions = re.findall("<figcaption>(.*?)</figcaption>", figure)
    assert [caption.endswith("(intrusive)") for caption in captions] == [False, False, True]
    assert captions[2].startswith("Sharpness")
    for title in ("WER", "SIM"):
        assert f"{title} has no value here: not computed here" in figure


def test_the_demo_asks_for_fig_3s_metrics_and_fetches_nothing():
    demo, paper = (reproduce_config({"scale": scale}).evaluate for scale in ("demo", "paper"))
    assert {"wer", "sim", "visqol", "dnsmos_ovrl"} <= set(demo.metrics) < set(paper.metrics)
    assert (demo.fetch, paper.fetch) == (False, True)


def test_a_second_run_reuses_everything(
    reproduced: Path, spoken: Path, capsys: pytest.CaptureFixture[str]
):
    kept = {
        path: path.stat().st_mtime_ns
        for path in reproduced.rglob("*")
        if path.is_file() and path.parent != reproduced / "reproduction"
    }
    page = (reproduced / "reproduction" / "index.html").read_text()
    Reproducer(settings(spoken, reproduced)).run()
    printed = capsys.readouterr().out
    assert printed.count("nothing to do") == 6
    assert printed.count("is complete (fingerprint") == 2
    changed = [path.name for path, time in kept.items() if path.stat().st_mtime_ns != time]
    # The evaluations' own reports are drawn anew from their results, and come out the same.
    assert set(changed) <= {"index.html", "table.md", "results.json"}
    assert (reproduced / "reproduction" / "index.html").read_text() == page


def test_a_figure_of_the_codec_alone_trains_nothing(spoken: Path, tmp_path: Path):
    alone = {"shards": "", "evaluate.codec": "demo_24khz"}
    Reproducer(settings(spoken, tmp_path, what="fig2", **alone)).run()
    assert not (tmp_path / "runs").exists()
    page = (tmp_path / "reproduction" / "index.html").read_text()
    assert 'id="fig2"' in page
    assert 'id="table1"' not in page


@pytest.mark.parametrize("scale", ["demo", "paper"])
def test_a_plan_needs_no_data_and_writes_nothing(
    scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    plan = Reproducer(reproduce_config({"scale": scale})).describe()
    assert [line for line in plan.splitlines() if line.startswith("runs/")] == [
        f"runs/{m}{s}" for s in ("", "-subset") for m in ("onestep", "sb", "c2f")
    ]
    assert "train sb on 1/60 of the training speech" in plan
    steps = {"demo": ["500"] * 6, "paper": ["1000000"] * 3 + ["500000"] * 3}[scale]
    assert re.findall(r"steps +(\d+)", plan) == steps
    if scale == "paper":
        assert "206.0M parameters" in plan
        assert plan.count("222,222.2 h of speech seen") == 3
        assert plan.count("111,111.1 h of speech seen") == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": "paper"}, "--shards: the paper scale needs it"),
        ({"scale": "paper", "shards": "x"}, "--input: the paper scale needs it"),
        ({"scale": "huge"}, "scale"),
        ({"what": "table3"}, "what"),
        ({"what": ""}, "what"),
        ({"subset": "1/0"}, "subset"),
        ({"subset": "2"}, "subset"),
        ({"steps.ladiff": "3"}, "steps.ladiff"),
    ],
)
def test_a_wrong_call_ends_before_any_work(
    values: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        Reproducer(reproduce_config(values)).run()
    assert list(tmp_path.iterdir()) == []
