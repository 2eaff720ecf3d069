PYTHON ?= python3
BIN = .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --no-compile  # what is imported is compiled at its first import
unexport PYTHONDONTWRITEBYTECODE  # without bytecode every start of torch takes 10 s longer

.PHONY: demo test integration lint slow clean

demo: .venv/installed
	$(BIN)/gallery demo --out demo --overwrite

# two workers on two cores: more threads spin against each other
test integration slow: export OMP_NUM_THREADS = 1

test: .venv/tested
	$(BIN)/python -m pytest

integration: .venv/tested
	$(BIN)/python -m pytest -m "integration and not slow"

slow: .venv/slow
	$(BIN)/python -m pytest -m slow

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) --upgrade pip
	$(INSTALL) --editable .
	touch $@

.venv/tested: .venv/installed
	$(INSTALL) --editable '.[test]'
	touch $@

.venv/slow: .venv/tested
	$(INSTALL) --editable '.[slow]'
	touch $@

clean:
	rm -rf .venv build *.egg-info demo
