# `make` lists the targets. Everything runs in .venv, which is made on first use.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-out

.PHONY: help demo test check bench clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/full: $(VENV)/core
	$(BIN)/pip install --quiet --editable '.[dev,models]'
	# panopticapi's copy on PyPI pins numpy<2 without need, hence --no-deps (docs/decisions.md)
	$(BIN)/pip install --quiet --no-deps panopticapi-lite
	@touch $@

demo: $(VENV)/core  ## build, verify, audit and show the embedded triplets
	$(BIN)/olrd-build --source coco --out $(OUT)/triplets
	$(BIN)/olrd verify $(OUT)/triplets
	$(BIN)/olrd audit $(OUT)/triplets
	$(BIN)/olrd show $(OUT)/triplets --out $(OUT)/show

test: $(VENV)/full  ## install everything and run all tests
	$(BIN)/python -m pytest

check: $(VENV)/full  ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/full  ## throughput against the codec floor, and memory (COCO=folder for real COCO)
	$(BIN)/python -m bench.throughput $(if $(COCO),--root $(COCO))

clean:  ## remove the environment and the demo's output
	rm -rf $(VENV) $(OUT)
