# make demo | test | test-all | lint | docs | figures | clean
# make test K=store runs tests/store alone.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
K ?=

.PHONY: demo test test-all lint docs figures clean

demo: .venv/run-ready
	$(BIN)/python -m dsetkit demo --output demo

test: .venv/test-ready
	$(BIN)/python -m pytest tests/$(K)

test-all: .venv/test-ready
	$(BIN)/python -m pytest -m "" tests/$(K)

lint: .venv/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/test-ready
	$(BIN)/python -m tools.build_site

figures: .venv/test-ready
	$(BIN)/python -m benchmarks.reproduce --drawn --quick --work build/figures

clean:
	rm -rf .venv .cache demo build dist site *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run-ready: requirements.txt pyproject.toml | .venv/bin/python
	$(PIP) -r requirements.txt
	touch $@

.venv/test-ready: requirements.txt requirements-dev.txt pyproject.toml | .venv/bin/python
	$(PIP) -r requirements-dev.txt
	touch $@ .venv/run-ready
