# The menu: `make` prints it. Every entry prepares what it needs in $(VENV), once; after that no
# network is needed.

VENV ?= .venv
# The first of these that is 3.11 or newer; name another with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo "$$name" && break; done)

BIN := $(VENV)/bin
COVERAGE := $(BIN)/coverage
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Editable, so that a change in job/ or reader/ needs no new installation; without isolation, so that the
# pinned build backend is the one that builds.
INSTALL_JOB := $(PIP) install --no-deps --no-build-isolation --editable . --editable ./reader
# Hashed requirement files name no host: they install from any index.
COMPILE := $(VENV)/pins/bin/uv --quiet pip compile --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make pins" --upgrade

# A shell that forbids bytecode would make every start of every program slow.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo check test lint bench simulate pictures pins clean

help: ## print this list
	@echo 'freshtoken: what you can do here'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1;\2/p' Makefile | \
		while IFS=';' read -r name text; do printf '  make %-9s%s\n' "$$name" "$$text"; done

demo: $(VENV)/run-ready ## watch tokens being kept fresh, all on this machine (DEMO_ARGS='--for 30s')
	@$(BIN)/freshtoken demo $(DEMO_ARGS)

# Two at once: more would only repeat the collection, and half of the time goes there.
check: $(VENV)/test-ready ## run the fast tests: what is pure and in memory (PYTEST_ARGS=...)
	$(BIN)/python -m pytest -n 2 -q --ignore tests/integration -m 'not integration and not slow' \
		$(PYTEST_ARGS)

# The integration tests mostly wait for time to pass: more of them at once than there are cores.
test: $(VENV)/test-ready ## run the unit tests, then the integration tests, then the coverage gate
	@$(COVERAGE) erase
	$(COVERAGE) run -m pytest -n auto -x -m 'not integration' $(PYTEST_ARGS)
	$(COVERAGE) run -m pytest -n 6 -m integration $(PYTEST_ARGS)
	@$(COVERAGE) combine --quiet
	$(COVERAGE) report

lint: $(VENV)/test-ready ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/test-ready ## measure the cost against what it replaces (BENCH_ARGS=...)
	@$(BIN)/python bench/bench.py $(BENCH_ARGS)

SEEDS ?= 20
DAYS ?= 365
simulate: $(VENV)/test-ready ## play years of faults in virtual time (SEEDS=20 DAYS=365 SIMULATE_ARGS=...)
	@PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(SEEDS) --days $(DAYS) $(SIMULATE_ARGS)

pictures: $(VENV)/test-ready ## make the pictures of the README again (needs chromium)
	@PYTHONPATH=tests $(BIN)/python docs/pictures/make.py

pins: $(VENV)/pins/bin/uv ## pin the newest releases again in requirements/
	$(COMPILE) --group test pyproject.toml --output-file requirements/test.txt
	$(COMPILE) --constraints requirements/test.txt pyproject.toml --output-file requirements/run.txt
	$(COMPILE) --constraints requirements/test.txt --group build --output-file requirements/build.txt

clean: ## remove the environment and everything else that was made here
	rm -rf $(VENV) .bench .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
	rm -rf dist tests/integration/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@if [ -z '$(PYTHON)' ] || ! '$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo 'freshtoken needs Python 3.11 or newer: make PYTHON=/path/to/python3.11' >&2; exit 1; fi
	@'$(PYTHON)' -m venv $(VENV)

$(VENV)/run-ready: requirements/run.txt requirements/build.txt pyproject.toml reader/pyproject.toml | $(BIN)/pip
	@echo 'preparing $(VENV) ...'
	@$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(INSTALL_JOB)
	@touch $@

$(VENV)/test-ready: requirements/test.txt pyproject.toml reader/pyproject.toml | $(BIN)/pip
	@echo 'preparing $(VENV) for the tests ...'
	@$(PIP) install --require-hashes -r requirements/test.txt
	@$(INSTALL_JOB)
	@touch $@ $(VENV)/run-ready

$(VENV)/pins/bin/uv: | $(BIN)/pip
	@$(BIN)/python -m venv $(VENV)/pins
	@$(VENV)/pins/bin/python -m pip --quiet --disable-pip-version-check install uv
