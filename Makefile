# Everything here makes its own environment in .venv first; nothing is needed by hand
# but Python >= 3.11, make and, for speed, a C compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOAD := .venv-loadtest
# The build warns that a folder here is named as the package, which is what -e is for.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
SOURCES_OF_SETUP := pyproject.toml setup.py $(wildcard engine/fastpath/*.px[yd])
RUN_READY := $(VENV)/.ready-to-run
DEV_READY := $(VENV)/.ready-to-develop
# The console is tested in a browser where one is; what drives it is of no use elsewhere.
BROWSER := $(shell command -v chromium || command -v chromium-browser)
BROWSER_READY := $(if $(BROWSER),$(VENV)/.ready-to-browse)

# What is given to the programs: make test ARGS="-k claim", make run ARGS="--port 9000", ...
ARGS ?=

BENCHES := codes engine writer backlog redis-time quotes memory http lag workers pool waitlist

.PHONY: help setup run test lint docs bench chaos replay loadtest clean
.PHONY: $(addprefix bench-,$(BENCHES) growth peers tables)
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV_READY) ## the environment in .venv, tools included

run: $(RUN_READY) ## a demo mall: embedded Valkey, SQLite books, API, writer
	@exec $(BIN)/hexiao serve --demo $(ARGS)

test: $(DEV_READY) $(BROWSER_READY) lint ## lint, types, then the tests (ARGS="--server both --whole": all of them, as CI)
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

lint: $(DEV_READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(DEV_READY) ## the documents that are generated from the code
	@mkdir -p docs
	$(BIN)/python -m engine.outcomes > docs/OUTCOMES.md

bench: $(addprefix bench-,$(BENCHES)) ## benchmarks (growth and peers apart), alone on the machine; JSON in reports/

bench-tables: $(DEV_READY) ## the tables of docs/BENCHMARKS.md, from reports/*.json
	$(BIN)/python -m benchmarks.tables $(ARGS)

bench-codes: $(DEV_READY) ## codes against libcrypto alone and a JWT (ARGS are pytest's)
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only -s $(ARGS)

bench-engine: $(DEV_READY) ## claims without HTTP against plain redis-py, at both durabilities
	$(BIN)/python -m benchmarks.engine_claims $(ARGS)

bench-writer: $(DEV_READY) ## facts a second into the books
	$(BIN)/python -m benchmarks.writer --json reports/bench-writer.json $(ARGS)

bench-backlog: $(DEV_READY) ## a million facts drained into PostgreSQL: the memory of the writer
	$(BIN)/python -m benchmarks.writer_backlog $(ARGS)

bench-redis-time: $(DEV_READY) ## Redis time of a claim, of one coupon redeemed and of three stacked
	$(BIN)/python -m benchmarks.redis_time $(ARGS)

bench-quotes: $(DEV_READY) ## CPU of a quote of the best offer over 20 coupons
	$(BIN)/python -m benchmarks.quotes $(ARGS)

bench-memory: $(DEV_READY) ## bytes of Redis that a live coupon takes, on jemalloc
	$(BIN)/python -m benchmarks.memory $(ARGS)

bench-http: $(DEV_READY) ## claims and refusals over HTTP against a bare handler; a flood
	$(BIN)/python -m benchmarks.http_claims $(ARGS)
	$(BIN)/python -m benchmarks.http_refusals
	$(BIN)/python -m benchmarks.http_flood

bench-lag: $(DEV_READY) ## how far the books are behind at 70 % of the API's peak
	$(BIN)/python -m benchmarks.http_lag $(ARGS)

bench-peers: $(DEV_READY) ## against SQL, plain redis-py, pretix and others (makes var/peers: 700 MB)
	$(BIN)/python -m benchmarks.peers.environments
	$(BIN)/python -m benchmarks.peers.claims
	$(BIN)/python -m benchmarks.peers.http_claims
	$(BIN)/python -m benchmarks.peers.checkin
	$(BIN)/python -m benchmarks.peers.packages

bench-waitlist: $(DEV_READY) ## joining, asking and moving on with 200,000 waiting, beside claims
	$(BIN)/python -m benchmarks.waitlist $(ARGS)

bench-workers: $(DEV_READY) ## claims over HTTP by one API process and by two
	$(BIN)/python -m benchmarks.http_workers $(ARGS)

bench-pool: $(DEV_READY) ## a million third-party codes loaded, and claims that take one along
	$(BIN)/python -m benchmarks.pool $(ARGS)

bench-growth: $(VENV)/.ready-to-plot ## a claim's cost against wallets, campaigns, coupons, cells, batches
	$(BIN)/python -m benchmarks.growth $(ARGS)

chaos: $(DEV_READY) ## long fault runs
	$(BIN)/python -m pytest tests -m chaos $(ARGS)

replay: $(VENV)/.ready-to-replay ## a year of real coupon records through the HTTP API
	$(BIN)/hexiao replay completejourney $(ARGS)

loadtest: $(RUN_READY) $(LOAD)/.ready ## load by locust, then reconcile: loadtest/README.md
	$(BIN)/python -m loadtest.run --locust $(LOAD)/bin/locust $(ARGS)

clean: ## what was built, installed or left by tests; never ./var, which holds a mall's data
	rm -rf $(VENV) $(LOAD) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.schemathesis .benchmarks
	rm -f engine/fastpath/*.c engine/fastpath/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "$(PYTHON) is missing or older than 3.11, which hexiao needs;" \
			"name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make environments (no ensurepip or venv);" \
			"on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# An environment for development runs as well, so `make run` after `make test` installs nothing.
$(RUN_READY): $(BIN)/python $(SOURCES_OF_SETUP)
	@echo "Installing hexiao into $(VENV) (half a minute or so) ..."
	@$(PIP) install -e .
	@touch $@

$(DEV_READY): $(BIN)/python $(SOURCES_OF_SETUP)
	@echo "Installing hexiao and its tools into $(VENV) (a minute or so) ..."
	@$(PIP) install -e '.[dev]'
	@touch $(RUN_READY) $@

# Apart from the rest: locust brings a pytest plugin that would load itself into every test run.
$(LOAD)/.ready: $(BIN)/python
	@echo "Installing locust into $(LOAD) ..."
	@$(PYTHON) -m venv $(LOAD)
	@$(LOAD)/bin/python -m pip -qq --disable-pip-version-check --no-input install 'locust>=2.42'
	@touch $@

$(VENV)/.ready-to-browse: $(DEV_READY)
	@echo "Installing what drives a browser into $(VENV) ..."
	@$(PIP) install -e '.[browser]'
	@touch $@

$(VENV)/.ready-to-plot: $(DEV_READY)
	@echo "Installing what draws plots into $(VENV) ..."
	@$(PIP) install -e '.[bench]'
	@touch $@

$(VENV)/.ready-to-replay: $(RUN_READY)
	@echo "Installing the recorded data into $(VENV) (35 MB) ..."
	@$(PIP) install -e '.[replay]'
	@touch $@
