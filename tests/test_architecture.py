"""The rules of the house, held by machine: layers, sizes, light `--help`, no address of ours."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CODE = ("resyn", "pipelines", "tune_spaces", "tests")
PIPELINES = sorted((REPOSITORY / "pipelines").glob("*.py"))
CLUSTER_LIBRARIES = {"ray", "deepspeed", "mlflow"}
HEAVY = {"torch", "numpy", "pyarrow", "pandas", "encodec", *CLUSTER_LIBRARIES}

#: Spelt in pieces, so that this file does not match itself.
FORBIDDEN_TEXT = {
    "a path of one machine": r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot|fa" + r"rm)/|[.]libr" + r"ary/",
    "an address of a package registry": (
        r"files\.[a-z]+" + r"hosted|py" + r"pi\.org|index" + r"-url"
    ),
}


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def text_files() -> Iterator[Path]:
    """What a clone holds, near enough: the known folders and the files beside them."""
    folders = [REPOSITORY / name for name in (*CODE, "cluster", ".ci")]
    candidates = [path for folder in folders for path in folder.rglob("*")]
    candidates += [path for path in REPOSITORY.iterdir() if path.name != "mlflow.db"]
    binary = {".safetensors", ".pyc", ".png", ".wav", ".flac", ".npz", ".parquet", ".db"}
    return (path for path in candidates if path.is_file() and path.suffix not in binary)


def imported_modules(path: Path) -> set[str]:
    """Absolute dotted names that a file imports, at any depth of nesting."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_layers_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.parametrize("library", sorted(CLUSTER_LIBRARIES))
def test_cluster_libraries_stay_in_their_room(library: str):
    outside = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in python_files("resyn", "pipelines")
        if (REPOSITORY / "resyn" / "runtime") not in path.parents
        for name in imported_modules(path)
        if name.partition(".")[0] == library
    ]
    assert outside == []


def test_search_spaces_know_nothing_but_distributions():
    for path in python_files("tune_spaces"):
        foreign = {name for name in imported_modules(path) if name.startswith(("ray", "resyn"))}
        assert all(name.startswith("ray.tune") for name in foreign), (path.name, foreign)


def test_files_are_short():
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in python_files(*CODE)
        if (lines := len(path.read_text().splitlines())) > 250
    }
    long |= {path.name: n for path in PIPELINES if (n := len(path.read_text().splitlines())) > 80}
    assert long == {}


def test_functions_are_short():
    long = {
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}": lines
        for path in python_files(*CODE)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > 40
    }
    assert long == {}


@pytest.mark.parametrize("what", sorted(FORBIDDEN_TEXT))
def test_no_address_of_one_machine(what: str):
    pattern = re.compile(FORBIDDEN_TEXT[what])
    found = [
        f"{path.relative_to(REPOSITORY)}: {match.group()}"
        for path in text_files()
        if (match := pattern.search(path.read_text(errors="ignore")))
    ]
    assert found == []


HELP_PROBE = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print("HEAVY", *sorted(set(sys.modules) & set({heavy!r})))
"""


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda path: path.stem)
def test_help_answers_before_heavy_imports(pipeline: Path):
    """Heavy imports come after parsing; a clock would only measure the machine's mood."""
    command = [sys.executable, "-c", HELP_PROBE.format(heavy=HEAVY), str(pipeline)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "usage:" in result.stdout
    assert result.stdout.strip().splitlines()[-1] == "HEAVY"


@pytest.mark.parametrize("module", ["resyn.runtime.encode_steps", "resyn.data.plan"])
def test_what_reads_and_writes_units_needs_no_torch(module: str):
    """Every Ray worker for these steps would spend seconds of a core on its import."""
    code = f"import {module}, sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout == "['numpy', 'pyarrow']\n"


def test_no_script_shadows_the_standard_library():
    """A script's folder is first on sys.path, so `tokenize.py` would break Python itself."""
    assert {path.stem for path in PIPELINES} & set(sys.stdlib_module_names) == set()
