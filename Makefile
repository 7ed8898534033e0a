# Every target makes the environment first; `make run` and `make test` are all that is needed on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
ROUNDS ?= 5
ARGS ?=

.PHONY: run test check bench serve audit clean

run: $(STAMP)
	$(BIN)/python -m discovery.loop --rounds $(ROUNDS) $(ARGS)

# Core tests run two at a time; those that start Ray, a browser or a service need the cores for themselves.
test: $(DEV_STAMP)
	$(BIN)/python -m pytest tests/core --numprocesses 2 --dist loadfile $(ARGS)
	$(BIN)/python -m pytest tests --ignore tests/core $(ARGS)

check: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks.campaign $(ARGS)

# Ray gives its workers the lowest priority; those that answer people have the usual one.
serve: $(STAMP)
	RAY_worker_niceness=0 RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=120 $(BIN)/serve run serve.app:build_app $(ARGS)

# Looks the installed packages up in the database of known holes; needs the network, so `make check` does without it.
audit: $(STAMP)
	$(BIN)/python deploy/audit.py $(ARGS)

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(DEV_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
