# Needs Python 3.11 or newer and make; everything else comes into .venv.

PYTHON ?= python3
BIN := .venv/bin
# More for pytest, as in: make test ARGS="-k scheduler"
ARGS ?=

# Without bytecode each of the hundreds of commands that tests start would compile dmrc anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help venv fast check test demo bench clean

help:
	@echo "make venv    make .venv with dmrc and what its tests need"
	@echo "make fast    the tests that need no engine, no Docker and no other process, on all cores"
	@echo "make check   ruff, mypy and the test of the floors"
	@echo "make test    the tests; says at its end which groups it left out, and why"
	@echo "make demo    run examples/facts with a real model, in Docker where there is one"
	@echo "make bench   measure the numbers, as ratios of one run; ARGS=pull measures some"
	@echo "make clean   remove .venv and what builds and tests left here"
	@echo
	@echo "PYTHON=$(PYTHON) chooses the interpreter; DMRC_TEST_GROUPS=all make test runs every group (tests/groups.py)"

venv: .venv/installed

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dmrc needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Run: make PYTHON=python3.11" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# --group came with pip 25.1.
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@# Setuptools warns of editable installs on every one.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

fast: venv
	$(BIN)/python -m pytest -q -m fast -n auto --dist worksteal $(ARGS)

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

test: venv
	$(BIN)/python -m pytest $(ARGS)

demo: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/facts/demo.sh

bench: venv
	$(BIN)/python -m tests.bench $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache examples/facts/facts-node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
