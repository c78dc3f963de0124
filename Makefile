# make demo   the whole line, small, on this machine      make check   lint, types, layers
# make test   the tests                                   make bench   measured ratios
# make soak   kills and lost nodes, minutes each           make lock    recompile requirements.lock
# make setup  the environment alone
#
# Needs Python >= 3.11, make, g++ and a package index; no root. Everything lands in .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: setup demo test soak check bench lock

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete

# The oldest supported Python first: it is the one that the tests run on.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

# A uv that answers, else one of our own inside the environment's folder.
OWN_UV := $(VENV)/bootstrap
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(OWN_UV)/bin/uv)

# Ray sends no usage reports; several processes share the cores, so none takes them all.
export RAY_USAGE_STATS_ENABLED := 0
export OMP_NUM_THREADS ?= 2

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml | $(filter-out uv,$(UV))
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 found; name one: make PYTHON=/path/to/python" >&2; exit 2; }
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -c "from resyn.runtime.deepspeed_engine import build_operators; build_operators()"
	@touch $@

# pip's --target is allowed on externally managed systems (PEP 668); Pythons without pip have venv.
$(OWN_UV)/bin/uv:
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 found; name one: make PYTHON=/path/to/python" >&2; exit 2; }
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; \
	then $(PYTHON) -m pip install --quiet --target $(OWN_UV) uv; \
	else $(PYTHON) -m venv $(OWN_UV) && $(OWN_UV)/bin/python -m pip install --quiet uv; fi

demo: setup
	$(BIN)/python pipelines/demo.py

test: setup
	$(BIN)/python -m pytest

soak: setup
	$(BIN)/python -m pytest -m soak

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

bench: setup
	@for script in $(sort $(wildcard tests/bench/*.py)); do echo "== $$script"; PYTHONPATH=. $(BIN)/python $$script; done

lock: | $(filter-out uv,$(UV))
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --output-file requirements.lock
