# `make demo` and `make test` do all the set-up they need in .venv; a second call finds it done.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow test-old-python check clean
.DELETE_ON_ERROR:

demo: $(VENV)/.search
	$(BIN)/searcher demo

# Two processes, a file of tests each: more would disturb those that measure. Linear algebra with threads of its own in
# each would wait for the other's.
test: check
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=10

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow --durations=10
	$(MAKE) test-old-python

# The agent under Python 3.9; needs root and debootstrap.
test-old-python: $(VENV)/.test
	tests/old_python/run

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --no-tips --target=3.8- --violations profiler_agent searcher/__init__.py searcher/cli/__init__.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.search: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[search]'
	touch $@

$(VENV)/.test: $(VENV)/.search
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[search,tflite-export,parquet,test]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
