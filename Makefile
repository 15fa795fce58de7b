# `make` lists the targets. Everything runs in .venv, which is made on first use.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-out
# setuptools warns about every editable installation; pip passes that on
export PYTHONWARNINGS ?= ignore:Editable installation

.PHONY: help demo test check fast-tests-of-olrd other-fast-tests types docs test-lowest fuzz perf bench clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/scoring: $(VENV)/core
	$(BIN)/pip install --quiet --editable '.[benchmark]'
	@touch $@

$(VENV)/full: $(VENV)/core
	$(BIN)/pip install --quiet --editable '.[dev,models,benchmark,sd,magiceraser,migan]'
	# both pin numpy<2 without need, hence --no-deps (docs/decisions.md)
	$(BIN)/pip install --quiet --no-deps panopticapi-lite simple-lama-inpainting
	# Gradio excludes pillow 13, with which it works here
	$(BIN)/pip install --quiet --no-deps gradio==6.31.0 gradio-client==2.7.2 hf-gradio==0.4.1
	@touch $@

$(VENV)/docs: $(VENV)/core
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@

demo: $(VENV)/scoring  ## build, verify, audit and show the embedded triplets, and those of a drawn clip; benchmark four erasers on them
	$(BIN)/olrd-build --source coco --out $(OUT)/triplets
	$(BIN)/olrd verify $(OUT)/triplets
	$(BIN)/olrd audit $(OUT)/triplets
	$(BIN)/olrd show $(OUT)/triplets --out $(OUT)/show
	$(BIN)/python -m tools.drawn_clip $(OUT)/clip
	$(BIN)/olrd-build --source clip --root $(OUT)/clip --out $(OUT)/clip-triplets
	$(BIN)/olrd verify $(OUT)/clip-triplets
	$(BIN)/olrd show $(OUT)/clip-triplets --out $(OUT)/clip-show
	for method in identity blur-fill opencv-telea patchmatch; do \
	  $(BIN)/benchmark run --method $$method --root $(OUT)/triplets --save --out $(OUT)/runs/$$method; \
	done
	$(BIN)/benchmark leaderboard $(OUT)/runs/* --board $(OUT)/leaderboards
	$(BIN)/benchmark report $(OUT)/runs/* --root $(OUT)/triplets --out $(OUT)/report
	@printf '\n%s\n' "Done. Look at:"
	@printf '  %-36s %s\n' \
	  $(OUT)/show/page.html "the triplets" \
	  $(OUT)/clip-show/page.html "the triplets of the drawn clip, with effect masks" \
	  $(OUT)/report/report.html "what four methods made of the triplets" \
	  $(OUT)/leaderboards/olrd.html "the leaderboard"
	@echo "To type the commands of the README yourself: source $(BIN)/activate"

test: $(VENV)/full  ## install everything and run all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/full  ## format, lint, types, import layers, and the fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --keep-going -j3 fast-tests-of-olrd other-fast-tests types

# Two processes that load what their tests need: the core's tests need no networks.
FAST := $(BIN)/python -m pytest -m "not slow" --hypothesis-profile quick
fast-tests-of-olrd: $(VENV)/full
	$(FAST) tests/olrd

other-fast-tests: $(VENV)/full
	$(FAST) tests --ignore tests/olrd

types: $(VENV)/full
	$(BIN)/mypy

test-lowest:  ## run the core's tests with the lowest allowed versions of its dependencies, in .venv-lowest
	PYTHON=$(PYTHON) tools/lowest_versions.sh

docs: $(VENV)/docs  ## build the pages of docs/ into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fuzz: $(VENV)/full  ## feed every reader with damaged files, two minutes each; a traceback or a crash is an error
	$(BIN)/python -m perf.fuzz

perf: $(VENV)/full  ## measure builds against the codec floor (COCO=folder for real COCO), engines, storage, scoring
	$(BIN)/python -m perf.throughput $(if $(COCO),--root $(COCO))
	$(BIN)/python -m perf.engines $(if $(COCO),--root $(COCO))
	$(BIN)/python -m perf.storage $(if $(COCO),--root $(COCO))
	$(BIN)/python -m perf.harness

bench: perf

clean:  ## remove the environments, the site and the demo's output
	rm -rf $(VENV) .venv-lowest site $(OUT)
