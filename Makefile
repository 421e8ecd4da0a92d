# Two commands are enough on a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint setup clean bench bench-doctor verdicts faults recipes

setup: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lstmcast needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	@$(BIN)/lstmcast train --config sine-waves
	@$(BIN)/lstmcast predict latest --future 1000 -o outputs/demo-forecast.csv --plot outputs/demo-forecast.png
	@echo "the rollout beside the truth: $$($(BIN)/lstmcast plot latest --kind rollout)"

test: setup
	$(BIN)/pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/speed.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/recipes.py --quick

bench-doctor: setup
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/doctor.py

recipes: setup
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/recipes.py

verdicts: setup
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/verdicts.py

# everything that can go wrong, on purpose; prints how much was tried
faults: setup
	FAULTS=all OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m fault

clean:
	rm -rf .venv outputs .hypothesis .mypy_cache .ruff_cache .pytest_cache
