# `make run` and `make test` need Python 3.11 to 3.13 and git, nothing else.
PYTHON ?= python3
VENV ?= .venv
SUITE ?= suites/optimizers.toml
BIN = $(VENV)/bin
PARALLEL = --numprocesses auto --dist worksteal --benchmark-disable --ignore tests/benchmarks
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test test-slow test-faults test-peers bench lint format clean

run: $(VENV)/.run  ## install, then the main job: the report of suites/optimizers.toml
	@$(BIN)/harness run $(SUITE); code=$$?; test $$code -eq 1 || exit $$code  # 1: done, and some runs diverged

test: $(VENV)/.test  ## install, then the tests that CI runs
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: $(VENV)/.test  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(PARALLEL) --ignore tests/faults

test-faults: $(VENV)/.test  ## kills, full disks, signals and damage at every point, with strace
	$(BIN)/python -m pytest -s --benchmark-disable --durations=15 tests/faults

test-peers: $(VENV)/.peers  ## LoRA against PEFT, layer decay against timm
	$(BIN)/python -m pytest -q -rs --benchmark-disable tests/strategies/test_strategies_peers.py

bench: $(VENV)/.bench  ## the benchmarks, 15 minutes on a machine that does nothing else
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only --benchmark-sort=name

lint: $(VENV)/.dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable ".[test]"
	@touch $@ $(VENV)/.run

$(VENV)/.peers: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable ".[transfer-tests]"
	@touch $@ $(VENV)/.test $(VENV)/.run

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable ".[bench]"
	@touch $@ $(VENV)/.test $(VENV)/.run

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/.test $(VENV)/.run

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
