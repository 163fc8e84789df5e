# `make up` starts a hive, `make test` tests it. Both need root, and install everything else.
PYTHON := /usr/bin/python3 -B
SANDBOX := sandbox/sandbox
BIN := .venv/bin

# With compiled modules, each worker and each process that a test starts begins sooner.
test test-long: export PYTHONDONTWRITEBYTECODE =
test test-long: export PYTHONPYCACHEPREFIX = $(CURDIR)/.venv/pycache
# Tests also wait, so there are more workers than processors.
WORKERS := $(shell echo $$((2 * $$(nproc))))
HOSTS := gw0 gw1 gw2

# Runs pytest, and always ends the hosts of its workers.
in_sandboxes = status=0; $(BIN)/pytest $(1) || status=$$?; for name in test $(HOSTS:%=test-%); \
  do $(SANDBOX) --name $$name down || status=1; done; exit $$status

# Otherwise each worker compiles all tests for itself. Meanwhile mypy uses the other processor.
compiled = $(BIN)/pytest --collect-only --quiet --quiet -m 'not system and not long' >/dev/null

# Locks name no index: each host has its own.
compile = $(BIN)/pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras \
  --no-emit-find-links --no-emit-index-url --no-emit-trusted-host

.DEFAULT_GOAL := help
.PHONY: help up down shell test test-long lint bench bootstrap bootstrap-tests bootstrap-bench lock \
  recording man install uninstall deb

help: ## show this help
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; \
	do printf '  make %-11s %s\n' "$$name" "$$text"; done

up: bootstrap ## start a hive in a throw-away systemd host: manager, alice, bob and a dashboard
	@$(SANDBOX) hive manager alice bob

down: ## remove that host and all its files; KEEP=1 keeps its data
	@$(SANDBOX) down $(if $(KEEP),--keep)

shell: ## open a shell in that host
	@$(SANDBOX) exec true
	@$(SANDBOX) shell || true # the exit status of the last command there is not an error of make

test: bootstrap-tests ## run all tests but the long ones, in throw-away systemd hosts of their own
	@$(compiled) & $(MAKE) --no-print-directory lint && wait
	@$(BIN)/pytest -m 'not system and not long' --numprocesses=$(WORKERS) --dist=worksteal
	@$(call in_sandboxes,tests/system sandbox -m 'system and not long' --numprocesses=$(words $(HOSTS)) --dist=loadfile --no-loadscope-reorder)

test-long: bootstrap-tests ## run the long tests: storms, benches, Debian 13, further cases
	@$(call in_sandboxes,-m long)

lint: bootstrap ## run ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .

bench: bootstrap-bench ## measure the costs; one bench with NAME=messages, a smoke run with QUICK=1
	@$(BIN)/python -B -m bench $(NAME) $(if $(QUICK),--quick)

bootstrap: ## install missing packages (apt), make the venv, install the package in it
	@$(PYTHON) sandbox/bootstrap.py

bootstrap-tests:
	@$(PYTHON) sandbox/bootstrap.py --tests

bootstrap-bench:
	@$(PYTHON) sandbox/bootstrap.py --bench

lock: ## resolve the dependencies of pyproject.toml again
	@$(compile) --all-extras --output-file=requirements.lock pyproject.toml
	@$(compile) --constraint=requirements.lock --extra=host --extra=harness \
	  --output-file=installer/runtime.lock pyproject.toml
	@$(compile) --constraint=requirements.lock --only-build-deps --build-deps-for=wheel \
	  --output-file=installer/build.lock pyproject.toml

recording: bootstrap ## write the recording of a terminal in README.md again
	@$(PYTHON) -m sandbox.recording

man: bootstrap ## write the manual pages again, from hivectl, the settings and man/*.md
	@$(BIN)/python -B -m man

install: ## install on this host itself (needs systemd), or upgrade a running hive
	@$(PYTHON) -m installer install

uninstall: ## remove the installation; with PURGE=1 also the data, which asks unless YES=1
	@$(PYTHON) -m installer uninstall $(if $(PURGE),--purge) $(if $(YES),--yes)

deb: ## build a Debian package of this checkout; VERSION=... names its version
	@$(PYTHON) -m installer deb $(if $(VERSION),--version='$(VERSION)')
