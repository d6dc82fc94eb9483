# The one door to this repository; `make` alone lists what it can do. Needs bash, git and Python 3.11 to 3.13, nothing else.
SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON_SOURCES := services/*/src tools/*/src operator/src training-jobs/*/src
BIN := .venv/bin
T ?=

##@ Try it

.PHONY: quickstart
quickstart: ## Set up, start the platform and answer a real question, with its price
	@infra/setup.sh runtime
	@$(BIN)/toolorchestra quickstart

.PHONY: cluster
cluster: dev ## A local Kubernetes: by kind where Docker runs, otherwise on this machine itself, as root; WITH=kueue adds Kueue
	@$(BIN)/python -m infra.cluster up $(addprefix --with ,$(WITH)) $(addprefix --image ,$(wildcard build/images/*.tar))

.PHONY: cluster-down
cluster-down: dev ## End the local Kubernetes and remove all that it made
	@$(BIN)/python -m infra.cluster down

.PHONY: train-setup
train-setup: ## The environment that `toolorchestra train` needs: PyTorch and TRL, 4 GB
	@training-jobs/grpo/setup.sh

##@ Develop

.PHONY: init
init: dev ## Set up for development: environment and commit hooks
	@$(BIN)/pre-commit install || echo "commit hooks were not installed (see above); everything else is ready"

.PHONY: dev
dev:
	@infra/setup.sh dev

.PHONY: check
check: dev ## What a change must pass, quickly: lint, format, types, imports, house, unit tests
	@$(BIN)/python infra/tiers.py lint format types imports house locks unit

.PHONY: lint
lint: dev ## Find mistakes in the code
	@$(BIN)/python infra/tiers.py lint format house locks

.PHONY: fmt
fmt: dev ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

.PHONY: types
types: dev ## Check the types
	$(BIN)/mypy $(PYTHON_SOURCES) infra

.PHONY: imports
imports: dev ## Check who imports whom
	$(BIN)/lint-imports

##@ Test

.PHONY: test
test: dev ## Everything: all checks and every tier of tests there is
	@$(BIN)/python infra/tiers.py

.PHONY: test-unit
test-unit: dev ## Unit tests; T=path narrows
	$(BIN)/pytest $(or $(T),tests/unit)

.PHONY: test-integration
test-integration: dev ## Tests with real PostgreSQL, Valkey, workers and servers on loopback; T=path narrows
	$(BIN)/pytest $(or $(T),tests/integration)

.PHONY: bench
bench: dev ## Measurements side by side with peers, as ratios; T=name narrows
	@$(BIN)/python infra/bench.py $(T)

##@ Keep

.PHONY: images
images: ## Build the container images into build/images; T="platform sandbox" narrows
	@infra/images/build.sh $(T)

.PHONY: lock
lock: dev ## Choose the versions of all dependencies anew and write the locks
	@infra/lock.sh

.PHONY: crds
crds: dev ## Write the chart of the custom resources and their reference from the models
	@$(BIN)/python infra/crds.py && $(BIN)/python infra/reference.py

.PHONY: clean
clean: ## Remove environments, caches and build results; data in .toolorchestra/ stay
	rm -rf .venv .uv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
