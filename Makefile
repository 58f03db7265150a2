# SSA-ME studio. `make help` lists what there is. Everything is installed into .venv and nowhere else.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PORT ?= 7860
PIP_ARGS ?=
PYTEST_ARGS ?=
# A process a core, up to four; the tests of a file stay together. PYTEST_ARGS="-n 0" has one, which a debugger can stop.
PYTEST := -m pytest -n logical --maxprocesses 4 --dist loadfile
VENV := .venv
PY := $(VENV)/bin/python
# A stamp says that what a requirements file lists is installed; it is newer than the file, or the work is done again.
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

.PHONY: help setup setup-dev run test lint format bench clean

help:  ## Show this list
	@echo "SSA-ME studio: baseline and SSA-ME side by side. Targets:"
	@sed -n 's/^\([a-z-]*\):.*##\(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-10s%s\n", $$1, $$2 }'

setup: $(READY)  ## Make .venv and install requirements.txt; does nothing when up to date

setup-dev: $(READY_DEV)  ## The same, with the tools for tests and checks

run: $(READY)  ## Open the studio on http://127.0.0.1:7860 (another port: make run PORT=8000)
	@PORT=$(PORT) $(PY) app.py

test: $(READY_DEV)  ## Run the tests (a part of them: make test PYTEST_ARGS="tests/salience -k fuse")
	@OMP_NUM_THREADS=1 $(PY) $(PYTEST) $(PYTEST_ARGS)

lint: $(READY_DEV)  ## Check style and types: ruff, mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: $(READY_DEV)  ## Mend what ruff can mend
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(READY_DEV)  ## Measure the claims of benchmarks/, one after the other
	@failed=0; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(PY) -m benchmarks.$$(basename $$script .py) || failed=1; done; exit $$failed

clean:  ## Remove .venv and caches; galleries and trained models stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- behind the targets ---------------------------------------------------------------------------------------------

$(READY): requirements.txt | $(PY)
	@rm -f $@
	$(PY) -m pip install --disable-pip-version-check $(PIP_ARGS) -r requirements.txt
	@$(PY) -c "import cv2" || { \
		echo "OpenCV does not load here. On Debian or Ubuntu: apt-get install $$(tr '\n' ' ' < packages.txt)" >&2; exit 1; }
	@touch $@

$(READY_DEV): requirements-dev.txt $(READY)
	@rm -f $@
	$(PY) -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -r requirements-dev.txt
	@touch $@

$(PY):
	@supported='import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
		if $$python -c "$$supported" >/dev/null 2>&1; then \
			echo "Making $(VENV) with $$($$python --version), then installing: a few minutes, once."; \
			$$python -m venv --clear $(VENV) && exit 0; \
			rm -rf $(VENV); echo "$$python could not make $(VENV)." >&2; exit 1; \
		fi; \
	done; \
	echo "Python 3.11, 3.12 or 3.13 with its venv module is needed and was not found." >&2; \
	echo "Install one (Debian, Ubuntu: apt-get install python3-venv), or name yours: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	exit 1
