# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
.PHONY: help demo demo-down check test bench fuzz setup lint unit docs sanity awx engine environment refresh molecule

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/.ansible
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.ansible/collections
export MOLECULE_GLOB := molecule/*/molecule.yml
export PYTHONDONTWRITEBYTECODE := 1
STEP := $(PYTHON) tests/tools/step.py

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST) | sort

setup: .venv/.ready  ## the Python environment, when it is missing or out of date
.venv/.ready: meta/requirements.txt requirements/runtime.txt requirements/dev.txt tests/tools/setup.sh
	@bash tests/tools/setup.sh

demo: setup  ## two lab servers, the whole service, a real answer
	@$(STEP) demo -- $(BIN)/python -m tests.lab.demo

demo-down: setup  ## remove the demo's servers, registry and state; images and the model stay for the next one
	@$(BIN)/python -m tests.lab down --instance demo

check: setup  ## the fast inner loop: lint, unit, contract; no engine
	@$(STEP) lint -- $(MAKE) -s lint
	@$(STEP) unit+contract -- $(MAKE) -s unit

# What needs one core goes two at a time. The lab's steps have the machine for themselves.
test: setup  ## everything
	@$(MAKE) -s -j 2 --output-sync=recurse $(addsuffix -step,awx lint docs sanity)
	@$(STEP) unit+contract -- $(MAKE) -s unit
	@$(STEP) engine -- $(MAKE) -s engine
	@$(STEP) molecule -- $(MAKE) -s molecule

%-step:
	@$(STEP) $* -- $(MAKE) -s $*

lint:  ## yamllint, ansible-lint (production), changelog fragments
	@yamllint -s .
	@ansible-lint --offline -q
	@antsibull-changelog lint

unit:  ## unit tables and the rules of the design, two at a time
	@pytest -n 2 --dist worksteal -m 'not engine' tests/unit tests/contract/design tests/contract/awx/test_arguments.py

docs:  ## module, role and plugin documentation builds without a warning
	@bash tests/tools/docs.sh

sanity:  ## ansible-test sanity on a copy of what git knows, no ignore file
	@bash tests/tools/sanity.sh

awx:  ## the role awx against a strict stub of AWX's API; FLEET_AWX="HOST TOKEN" asks a real AWX
	@pytest tests/contract/awx/test_role.py

engine: setup  ## tests that need the engine: the edge on real nginx, the LocalAI contract
	@$(BIN)/python -m tests.lab up --instance test
	@pytest -m engine tests/edge tests/contract/localai

environment: setup  ## the execution environment: built, and site.yml run in it twice on the lab's servers
	@$(BIN)/python -m tests.lab up --instance test
	@pytest tests/system/run_environment.py

refresh: setup  ## good models and bad ones, a kill and the way back, while clients ask all the time (half an hour)
	@$(BIN)/python -m tests.lab up --instance test
	@ansible-playbook -i .lab/test/inventory/hosts.yml playbooks/site.yml
	@pytest -v tests/system/test_refresh.py

molecule: setup  ## every scenario: converge, idempotence, verify
	@molecule -c molecule/config.yml test --all

bench: setup  ## measurements: tables, nothing asserted (PARTS="headers planning" for some)
	@$(BIN)/python -m tests.bench $(PARTS)

fuzz: setup  ## RUNS (1000000) hostile GGUF headers, ranges and split sets; what is found stays in tests/fuzz/found
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/fuzz.txt
	@$(BIN)/python -m tests.fuzz --runs $(or $(RUNS),1000000) $(FUZZ)
