# Everything runs in .venv, which is made on first use. PYTHON names the Python to make it with.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint docs bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     install, then run the whole path on phantom slides (about 3 minutes)"
	@echo "make test     install what tests need, then run them"
	@echo "make lint     ruff, mypy and the import contracts"
	@echo "make docs     build the documentation into site/"
	@echo "make bench    run every benchmark"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "wsikit needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { rm -rf .venv; echo "cannot make a virtual environment: apt-get install python3-venv"; exit 1; }

.venv/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing wsikit and its pinned dependencies into .venv (about 2 minutes, 6.5 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "installing what tests and checks need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/.installed
	@$(BIN)/wsikit demo -o demo

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not timed"
	$(BIN)/python -m pytest -m timed

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=pipelines $(BIN)/mypy --explicit-package-bases pipelines
	$(BIN)/lint-imports --no-cache

docs: .venv/.installed-dev
	$(BIN)/mkdocs build --strict --quiet

bench: .venv/.installed
	@for bench in benchmarks/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

clean:
	rm -rf .venv site demo
