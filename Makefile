# Everything runs from a virtual environment in .venv that is made on first use. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart quickstart-pose test test-long conformance fuzz check bench results

# three short LeNet-5 runs on MNIST: about two minutes on two cores
quickstart: .venv/.quickstart
	$(BIN)/python -m experiments quickstart

# a small pose network on drawn figures: some five minutes on two cores
quickstart-pose: .venv/.installed
	$(BIN)/python -m experiments quickstart-pose

test: .venv/.installed
	$(BIN)/python -m pytest -n auto --dist loadgroup

# those that take minutes each; DATA_ROOT names the folder of real data sets
test-long: .venv/.installed
	$(BIN)/python -m pytest -m long

# 10,000 damaged files, each refused in a line or read: some three minutes
fuzz: .venv/.installed
	PYTHONPATH=.:tests $(BIN)/python tests/fuzz.py

# every method in every setting that matters, also on two processes and compiled: some ten minutes
conformance: .venv/.installed
	PYTHONPATH=. $(BIN)/python tests/conformance.py --results experiments/results/conformance.csv

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# ratios against the same Trainer without callbacks, and against other runtimes: some forty minutes on a quiet machine
bench: .venv/.installed
	$(BIN)/python -m experiments bench

# rewrite the tables of README.md, and the pages and figures of studies, from experiments/results
results: .venv/.installed
	$(BIN)/python -m experiments tables

# the first part of requirements.txt, unless all of it is there
.venv/.quickstart: requirements.txt
	$(PYTHON) -m venv .venv
	[ .venv/.installed -nt requirements.txt ] || sed '/^# ---/,$$d' requirements.txt > .venv/quickstart.txt
	[ .venv/.installed -nt requirements.txt ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check -r .venv/quickstart.txt
	touch $@

.venv/.installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@
