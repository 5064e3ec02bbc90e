# SPDX-License-Identifier: Apache-2.0
# Two commands matter: `make demo` and `make test`. Both do all set-up, both clean up after themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
RESULTS ?= .cache/results
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help setup demo test check lint unit kernel-test lab-test molecule bench mutation collection lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Debian packages, Python environment, Go toolchain (looks first, safe to repeat)
	@tools/setup.sh

demo: ## bring up the lab, provision two bare edges, and watch a Service answer through its VIP
	@tools/beside_build.sh $(PYTHON) -m fairlead_lab.demo

test: ## everything: lint, unit, kernel, lab and molecule tests
	@tools/beside_build.sh tools/run_tests.sh lint unit kernel lab molecule

lint: setup ## ruff, mypy, import contracts, ansible-lint, yamllint
	@tools/run_tests.sh lint

unit: setup ## tests without a kernel or a cluster (seconds)
	@tools/run_tests.sh unit

kernel-test: setup ## IPVS tests on a real kernel (User-Mode Linux)
	@tools/run_tests.sh kernel

lab-test: setup ## the whole chain in the lab, with real traffic
	@tools/run_tests.sh lab

molecule: setup ## the roles on bare guests: check, converge, idempotence, verify
	@tools/run_tests.sh molecule

bench: setup ## the figures of docs/figures.md, measured here
	@$(PYTHON) -m bench

mutation: setup ## breaks agent, cluster and edge at random places, and counts what the tests see (hours)
	@$(PYTHON) tools/mutation.py

collection: setup ## build, install and look over the Galaxy collection
	@$(PYTHON) tools/stage_collection.py

lock: ## resolve requirements/*.txt anew (needs uv)
	@tools/lock.sh

clean: ## end the lab and drop what was built in this tree (the cache outside stays)
	@[ ! -x $(PYTHON) ] || lab/lab down
	@rm -rf .cache build dist .pytest_cache .mypy_cache .ruff_cache
