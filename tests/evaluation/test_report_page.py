"""The table and the page: what they show, and what they must never let through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resyn.evaluation.page import render_page, write_report
from resyn.evaluation.results import Results
from resyn.evaluation.tables import markdown_table, table_groups
from resyn.storage import open_storage

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def page(evaluated: tuple[Path, Results]) -> str:
    folder, results = evaluated
    write_report(open_storage(str(folder)), results)
    return (folder / "index.html").read_text()


def test_the_table_has_the_papers_groups_and_bolds_the_best_method(
    evaluated: tuple[Path, Results],
) -> None:
    _, results = evaluated
    lines = [line for line in markdown_table(results).splitlines() if line.startswith("|")]
    titles = [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]]
    assert titles == [
        *("*Baseline*", "First RVQ code x1"),
        *("*Resynthesis methods*", "Coarse-to-fine", "Coarse-to-fine", "One-step regression"),
        *["Schrödinger Bridge"] * 3,
        *("*Topline*", "4 RVQ codes x1:4", "Pre-quantised embedding z", "Ground truth"),
    ]
    bold = [line for line in lines if "**" in line]
    assert [line.split(" | ")[0] for line in bold if "One-step" in line] == [
        "| One-step regression"
    ]
    assert "**0.000**" in next(line for line in lines if "One-step" in line)
    assert all("**" not in line for line in lines if "RVQ" in line or "Pre-quantised" in line)


def test_ties_as_printed_are_all_bold_and_cost_never(evaluated: tuple[Path, Results]) -> None:
    _, results = evaluated
    best: dict[str, list[str]] = {}
    for group in table_groups(results):
        for row in group.rows:
            for cell in row.cells:
                if cell.best:
                    best.setdefault(cell.metric, []).append(row.system.key)
    assert best["latent_error"] == ["onestep-nfe1"]
    assert "rtf" not in best


def test_every_column_names_its_backend_version_and_rate(
    evaluated: tuple[Path, Results], page: str
) -> None:
    _, results = evaluated
    for info in results.metrics.values():
        assert info.version
        assert f"<small>{info.package} {info.version}</small>" in page
        assert f"{info.title}: {info.backend}" in markdown_table(results)


def test_the_page_needs_no_network(page: str) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)


def test_everything_the_page_points_to_is_there(evaluated: tuple[Path, Results], page: str) -> None:
    folder, results = evaluated
    sources = re.findall(r'src="([^"]+)"', page)
    shown = len(results.samples) * len(results.table_systems)
    assert len(sources) == 2 * shown
    assert all((folder / source).stat().st_size > 1000 for source in sources)
    assert page.count("<audio controls") == shown
    links = re.findall(r'href="([^"]+)"', page)
    anchors = [link[1:] for link in links if link.startswith("#")]
    assert all(f'id="{anchor}"' in page for anchor in anchors)
    files = {link for link in links if not link.startswith(("#", "data:"))}
    assert all((folder / name).is_file() for name in files)


def test_figures_and_images_are_described(page: str) -> None:
    assert page.count('<div role="img" aria-label="') == 3 + 4 + 2
    assert len(re.findall(r'<div role="img"[^>]*><svg ', page)) == 3 + 4 + 2
    assert all('alt="Spectrogram of ' in tag for tag in re.findall(r"<img [^>]*>", page))


def test_words_from_outside_are_escaped(evaluated: tuple[Path, Results]) -> None:
    _, results = evaluated
    first = results.utterances[0].model_copy(
        update={"utt_id": HOSTILE, "speaker": HOSTILE, "text": HOSTILE}
    )
    sample = results.samples[0].model_copy(update={"utt_id": HOSTILE})
    model = results.models[0].model_copy(update={"uri": HOSTILE, "title": HOSTILE})
    systems = tuple(
        system.model_copy(update={"title": HOSTILE}) if system.method == "sb" else system
        for system in results.systems
    )
    hostile = results.model_copy(
        update={
            "utterances": (first, *results.utterances[1:]),
            "samples": (sample, *results.samples[1:]),
            "models": (model, *results.models[1:]),
            "systems": systems,
        }
    )
    page = render_page(hostile)
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_random_weights_are_named_on_page_and_table(evaluated: tuple[Path, Results]) -> None:
    _, results = evaluated
    from dataclasses import replace

    unreal = results.model_copy(update={"codec": replace(results.codec, random_weights=True)})
    assert "random weights" in render_page(unreal)
    assert "(random weights)" in markdown_table(unreal)
    assert "random weights" not in render_page(results)
