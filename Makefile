# Two commands matter: `make demo` and `make test`. Everything else is for those who work on Dongui.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# KEEP=1 leaves the demo's system running; SEED chooses the long tests' random choices.
KEEP ?=
SEED ?= 1
# What `make chaos` runs: a range of seeds, each this many minutes on a fresh system.
SEEDS ?= 1-20
MINUTES ?= 1
# Test workers; each has a Kafka and a PostgreSQL of its own (about 1 GB and half a core). 0 = all in one process.
WORKERS ?= 2
# The long tests, in two pytests beside each other that take about as long: in one row they need an hour and a half.
LONG = $(BIN)/python -m pytest -m long --override-ini addopts="--import-mode=importlib -ra" --seed-long $(SEED)
BESIDE := tests/unit tests/integration tests/security tests/faults/test_erasure.py tests/faults/test_volume.py

.DEFAULT_GOAL := help
.PHONY: help demo browser test test-long chaos check fmt bench schemas chart lock sbom licences compose-secrets clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dongui needs Python 3.11 or newer; set PYTHON=/path/to/python3")'
	@echo "Installing the locked packages into $(VENV) (about half a minute, once) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP) ## Start everything and walk one member's story through it (KEEP=1 leaves it running)
	@$(BIN)/python -m services.devstack.demo $(if $(KEEP),--keep)

browser: ## Install Debian's Chromium for the browser tests where this machine allows it (root, apt-get)
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && echo "Installing Chromium and Korean fonts for the browser tests (once) ..." >&2 \
	  && timeout 300 sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-nanum' >/dev/null 2>&1; } \
	  || echo "No Chromium could be installed: the browser tests will say that they did not run." >&2

test: $(STAMP) ## Run the whole test suite on a real Kafka and a real PostgreSQL
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --max-worker-restart 0

test-long: $(STAMP) ## Run the long tests (SEED=n): 100,000 members, more kills, more histories
	@$(LONG) $(BESIDE) & beside=$$!; $(LONG) $(addprefix --ignore=,$(BESIDE)); found=$$?; wait $$beside && exit $$found

chaos: $(STAMP) ## Seeded faults under load (SEEDS=1-20 MINUTES=1), then docs/reliability.md from the results
	@$(BIN)/python -m tests.chaos --seeds $(SEEDS) --minutes $(MINUTES) && $(BIN)/python -m tests.chaos --report

check: $(STAMP) ## Lint, format, types, import rules, generated files, licences
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m schemas.generate --check
	@$(BIN)/python -m infra.supply licences

fmt: $(STAMP) ## Format the code and sort imports
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: $(STAMP) ## Measure signup-to-last-affiliate latency
	@$(BIN)/python -m benchmarks latency

schemas: $(STAMP) ## Write the generated JSON Schema and AsyncAPI files
	@$(BIN)/python -m schemas.generate

chart: ## Write infra/helm/rendered.yaml again (needs helm, HELM=path)
	@$(PYTHON) infra/helm/render.py $(or $(HELM),helm)

lock: ## Resolve the dependencies again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --all-extras pyproject.toml -o requirements-dev.lock --quiet
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --constraint requirements-dev.lock pyproject.toml -o requirements.lock --quiet

sbom: $(STAMP) ## Write sbom.cdx.json: every package and jar, as CycloneDX 1.6
	@$(BIN)/python -m infra.supply sbom

licences: $(STAMP) ## Say whether every dependency's licence is allowed
	@$(BIN)/python -m infra.supply licences

compose-secrets: $(STAMP) ## Write ./secrets and .env for docker compose, once
	@$(BIN)/python infra/compose_secrets.py

clean: ## Stop the system and remove what it made
	@test ! -x $(BIN)/dongui || $(BIN)/dongui dev reset || true
	@rm -rf $(VENV)
