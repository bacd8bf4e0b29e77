# Everything that is typed here; `make` lists it. GNU make 3.81 (macOS) will do.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
# The first Python that is new enough.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
# A package index for torch, such as https://download.pytorch.org/whl/cpu; empty: the usual one.
TORCH_INDEX ?=
# More words for the command, such as make test ARGS="-k queue".
ARGS ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN_EXTRAS := api,courier,worker,ui,embedded
DEV_EXTRAS := $(RUN_EXTRAS),dev
# A new lock is a new name, so that what is installed always fits the checkout.
LOCKED := $(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)$(if $(TORCH_INDEX),-$(shell echo $(TORCH_INDEX) | cksum | cut -d' ' -f1))
RUN_READY := $(VENV)/.run-$(LOCKED)
DEV_READY := $(VENV)/.dev-$(LOCKED)
# Whatever was installed that has all that a worker needs.
WORKER_READY := $(firstword $(wildcard $(DEV_READY) $(RUN_READY)) $(VENV)/.worker-$(LOCKED))
DOCKERFILES := $(wildcard deploy/docker/*Dockerfile)
# Those with a tag of Compose' own (!reset) are no plain YAML: tests/unit/deploy/test_compose.py checks them merged.
COMPOSE_FILES := $(shell grep -L '!reset' docker-compose*.yml)

.PHONY: help
help: ## List the commands
	@echo 'usage: make COMMAND [NAME=value]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'names:'
	@echo '  DARKROOM_*   any setting, such as DARKROOM_API_PORT=9000, DARKROOM_WORKERS=2; .env.example has them all'
	@echo '  TORCH_INDEX  without a GPU, https://download.pytorch.org/whl/cpu saves several GB on Linux'
	@echo '  PYTHON       the Python 3.11+ to build $(VENV) with'
	@echo '  ARGS         more words for the command: make test ARGS="-k queue"'

.PHONY: setup
setup: $(RUN_READY) ## Install what `make run` needs

.PHONY: run
run: $(RUN_READY) ## Start everything on this machine; Ctrl-C stops it
	@exec $(BIN)/python -m deploy.local

.PHONY: worker
worker: $(WORKER_READY) ## Join a Darkroom elsewhere: REDIS=rediss://... STORE=https://... make worker
	@$(if $(filter command,$(origin REDIS) $(origin STORE)),echo $(ON_THE_LINE) >&2)
	@exec $(BIN)/python -m deploy.join

.PHONY: test
test: $(DEV_READY) browser prometheus ## Run the tests: unit, integration, end to end
	@$(BIN)/python -m pytest -m 'not gpu and not full_size' $(ARGS)

.PHONY: chaos
chaos: $(DEV_READY) ## Kill, freeze and cut off the parts while jobs run, for minutes; count what was promised and kept
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: upgrade-drill
upgrade-drill: $(DEV_READY) ## Replace parts of an older commit (OLD=...) by these one by one, and back, while jobs run
	@$(BIN)/python -m tests.chaos.upgrade --old $(OLD) $(ARGS)

.PHONY: stuck-drill
stuck-drill: $(DEV_READY) ## Freeze a worker, and let a step of another hang, while jobs run; show what an operator sees
	@$(BIN)/python -m tests.chaos.stuck $(ARGS)

.PHONY: contract
contract: $(DEV_READY) ## Ask a real gateway 5,000 things that its OpenAPI document allows or forbids; ARGS="--cases 20000" for more
	@$(BIN)/python -m tests.contract $(ARGS)

.PHONY: check
check: $(DEV_READY) ## Run the linters, the type checker, the import contracts and the vulnerability scan
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(if $(DOCKERFILES),$(BIN)/hadolint $(DOCKERFILES))
	@$(if $(COMPOSE_FILES),$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec $(COMPOSE_FILES))
	@$(BIN)/python -m deploy.audit

.PHONY: format
format: $(DEV_READY) ## Format the sources, and mend what ruff can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: hooks
hooks: $(DEV_READY) ## Have git run the checks before each commit
	@$(BIN)/pre-commit install

.PHONY: eval
eval: $(RUN_READY) ## Measure how well the demo model draws what it is told
	@$(BIN)/python -m worker.demo_model.evaluate $(ARGS)

.PHONY: bench
bench: $(DEV_READY) ## Measure speed on the CPU, beside other ways to the same pictures: minutes
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-gpu
bench-gpu: $(DEV_READY) ## The same for SSD-1B on a GPU; ARGS=--random-weights needs no checkpoint
	@$(BIN)/python -m bench.gpu $(ARGS)

.PHONY: train
train: $(RUN_READY) ## Train the demo model anew: hours
	@$(BIN)/python -m worker.demo_model.train $(ARGS)

.PHONY: secrets
secrets: ## Write .env with new random keys for docker compose; keeps one that is there
	@$(if $(PYTHON),,$(NO_PYTHON))
	@$(PYTHON) deploy/keys.py

.PHONY: redis-users
redis-users: ## Write redis-users.acl: a user of Redis for each part, with passwords in .env; again after updates
	@$(if $(PYTHON),,$(NO_PYTHON))
	@$(PYTHON) -m deploy.redis_users

.PHONY: up
up: secrets ## Start everything in containers; ARGS="--scale worker=2 -d"
	@docker compose up --build $(ARGS)

.PHONY: fleet-secrets
fleet-secrets: secrets ## Let workers of other machines in: make fleet-secrets ADDRESS=10.1.0.5 NAMES=host.example.net
	@$(PYTHON) -m deploy.fleet --address '$(ADDRESS)' --names '$(NAMES)'

.PHONY: cluster-secrets
cluster-secrets: ## Write deploy/kubernetes/secrets.env with new random keys; keeps one that is there
	@$(if $(PYTHON),,$(NO_PYTHON))
	@$(PYTHON) -m deploy.cluster_keys

.PHONY: dashboards
dashboards: $(RUN_READY) ## Write Grafana's dashboards from deploy/dashboards
	@$(BIN)/python -m deploy.dashboards

.PHONY: licences
licences: $(DEV_READY) ## Write docs/licences.md from what is installed
	@$(BIN)/python -m deploy.licences

.PHONY: sbom
sbom: $(DEV_READY) ## Write what each image is made of, as CycloneDX, to build/sbom
	@$(BIN)/python -m deploy.sbom

.PHONY: release
release: $(DEV_READY) ## Tag a release, here alone: make release VERSION=0.2.0
	@$(BIN)/python -m deploy.release '$(VERSION)'

.PHONY: lock
lock: ## Pin every package anew in requirements.lock, from pyproject.toml
	@PYTHON='$(PYTHON)' sh deploy/lock.sh

.PHONY: clean
clean: ## Remove the virtual environment and caches; data/ stays
	@rm -rf $(VENV) *.egg-info .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- what the commands stand on ----

NO_PYTHON = { echo 'Darkroom needs Python 3.11 or newer and found none: install it, or name it: make PYTHON=/path/to/python3' >&2; exit 1; }
NO_VENV = { echo 'Python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
ON_THE_LINE = 'Everybody on this machine can read the words of make while it runs (ps), and these have keys in them. REDIS=... STORE=... before make, or JOIN=file, are read by you alone.'

$(BIN)/python:
	@$(if $(PYTHON),,$(NO_PYTHON))
	@$(PYTHON) -m venv $(VENV) || $(NO_VENV)

define install
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || $(NO_VENV)
	@echo 'Installing into $(VENV): minutes the first time, and again only when requirements.lock changes.'
	@$(PIP) install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c requirements.lock -e '.[$(1)]'
	@touch $@
endef

$(VENV)/.worker-$(LOCKED): | $(BIN)/python
	$(call install,worker)

$(RUN_READY): | $(BIN)/python
	$(call install,$(RUN_EXTRAS))

$(DEV_READY): | $(BIN)/python
	$(call install,$(DEV_EXTRAS))
	@touch $(RUN_READY)

.PHONY: prometheus
prometheus:
	@sh deploy/prometheus.sh $(VENV)/prometheus

.PHONY: browser
browser:
	@sh deploy/browser.sh $(BIN)/python
