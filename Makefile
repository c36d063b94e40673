# Each target works alone on a machine that has Python 3.11 or newer, venv, pip and make: it creates
# .venv and installs what it needs, and again only when pyproject.toml or constraints.txt changed.
#
#   make demo PYTHON=python3.12          another interpreter (for a new .venv)
#   make test GRAMALIGN_DATA=/some/dir   where the optional data sets lie; also read from the environment

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

ifdef UV
  CREATE = uv venv --quiet --clear --python '$(PYTHON)' $(VENV)
  INSTALL = uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
else
  CREATE = '$(PYTHON)' -m venv --clear $(VENV)
  INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
endif

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint format bench clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile | awk -F': ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(VENV)/.core  ## learn one space for four views of digits, then print its evaluation, into runs/demo
	rm -rf runs/demo
	$(BIN)/gramalign train digits --out runs/demo

test: $(VENV)/.dev  ## all tests but the slow ones
	$(BIN)/python -m pytest -n 2 --dist=loadfile -m 'not slow'

slow: $(VENV)/.dev  ## tests of five seconds or more each, of kills, several processes, programs for TPUs
	$(BIN)/python -m pytest -n 2 --dist=loadfile -m slow

lint: $(VENV)/.dev  ## formatting, lint rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev  ## apply the formatting and the fixes that are safe
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench  ## speed, memory and accuracy beside the published code, in minutes on a CPU
	$(BIN)/gramalign bench

clean:  ## remove .venv and the caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

# A stamp is written only once its command succeeded, so an interrupted installation is taken up again.
$(VENV)/.created:
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"gramalign needs Python 3.11 or newer, and $(PYTHON) is {sys.version.split()[0]}: run make PYTHON=/path/to/a/newer/python")'
	$(CREATE)
	@touch $@

$(VENV)/.core: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'installing gramalign into $(VENV) (about 1 GB, once) ...'
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev $(VENV)/.bench: $(VENV)/.%: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'installing gramalign[$*] into $(VENV) (over 1 GB, once) ...'
	@$(INSTALL) --editable '.[$*]'
	@touch $@ $(VENV)/.core
