# What a newcomer types; `make` alone lists it. Nothing has to be activated.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; \
	done; echo python3)
NEED_GB ?= $(if $(filter Linux,$(shell uname)),12,4)
WORKERS ?= 2
PROFILE ?= paper

VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
# The stages call `python`: it has to be this environment's.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help setup checkout repro paper params test test-fast lint bench tensorboard lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## make .venv and install the locked packages

repro: checkout $(READY)  ## regenerate every table and figure of the fast profile
	$(RUN) $(BIN)/python -m dvc repro

# `dvc exp run` writes the composed profile into params.yaml; afterwards the fast one is put back.
paper: checkout $(READY)  ## the same for the published protocols (hours; PROFILE=paper-gpu on a GPU)
	$(RUN) $(BIN)/python -m dvc exp run -S profile=$(PROFILE); status=$$?; \
	$(BIN)/python -m conf.compose && exit $$status

params: $(READY)  ## write params.yaml anew from conf/
	$(BIN)/python -m conf.compose

test: $(READY)  ## run the tests
	$(RUN) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-fast: $(READY)  ## run the tests that take less than two seconds each
	$(RUN) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy common

bench: $(READY)  ## run every benchmark case, or CASE=name, and save the rows
	@for case in $${CASE:-$$($(BIN)/python -m benchmarks --list | awk '{print $$1}')}; do \
		$(BIN)/python -m benchmarks "$$case" --save || exit; done

tensorboard: $(READY)  ## show the training runs
	$(BIN)/python -m tensorboard.main --logdir runs

lock: $(READY)  ## pin pyproject.toml's ranges anew (UPGRADE=--upgrade for the newest versions)
	$(BIN)/uv pip compile pyproject.toml --extra bench --extra dev $(UPGRADE) --quiet \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make lock" -o requirements.lock

clean:  ## remove .venv, runs and caches; keep raw data and results
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

checkout:
	@[ -e .git ] || grep -qs 'no_scm *= *[Tt]rue' .dvc/config.local || { \
		echo "error: this folder is not a git checkout, which DVC expects: run 'git init', or" \
		"write '[core]' and 'no_scm = true' on two lines of .dvc/config.local, then make again" >&2; \
		exit 2; }

# The stamp is written last: a set-up that was interrupted continues here. pip unpacks beside the
# environment because a small /tmp would not hold torch.
$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: Python 3.11 or newer is needed but '$(PYTHON)' is" \
		"$$("$(PYTHON)" --version 2>/dev/null || echo not to be found): install one and run" \
		"'make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'" >&2; exit 2; }
	@free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); \
	[ -n "$$(find $(VENV) -maxdepth 5 -name torch -type d 2>/dev/null)" ] || \
	[ "$$free" -ge $(NEED_GB) ] || { \
		echo "error: the packages need $(NEED_GB) GB of free disk and $$free GB are free here:" \
		"make room, or run 'make NEED_GB=0 $(MAKECMDGOALS)' to try all the same" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		rm -rf $(VENV) && "$(PYTHON)" -m venv $(VENV); } || { \
		echo "error: '$(PYTHON) -m venv' failed: install the package that holds Python's venv" \
		"(python3-venv on Debian and Ubuntu) and make again" >&2; exit 2; }
	@echo "installing the locked packages into $(VENV) (up to 5 GB, some minutes)"
	@[ -t 1 ] || quiet=--quiet; mkdir -p $(VENV)/tmp; export TMPDIR="$(CURDIR)/$(VENV)/tmp"; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	$(BIN)/python -m pip install $$quiet --retries 10 --require-hashes -r requirements.lock && \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . || { \
		echo "error: the locked install did not finish (see above): make again to continue it" >&2; \
		exit 2; }
	@rm -rf $(VENV)/tmp && touch $@
