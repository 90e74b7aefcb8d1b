# Every verb of this repository. Needs Python ≥ 3.11 and make, nothing else; installs into .venv, from hash-locked
# requirements, on first use. Another interpreter: make demo PYTHON=python3.13
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && exit; done; echo python3)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n auto --dist loadgroup
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --no-annotate pyproject.toml

# .venv is ours, and every command of a demo or test is a process: what was compiled once is kept, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all check fmt bench docs lock
help:       ## List the verbs.
	@sed -n 's/^\([a-z-]*\):.*## /\1 · /p' $(MAKEFILE_LIST)
demo: .venv/server.stamp  ## Watch the product do its main job, on a throw-away control plane.
	@$(BIN)/cmdop demo
test: .venv/dev.stamp     ## Run the fast tests: no system packages needed, under two minutes.
	@$(PYTEST) -m "not slow" --hypothesis-profile fast
test-all: .venv/dev.stamp ## Run every test, on SQLite and on PostgreSQL; what fails is named, then tried once more, alone.
	@$(PYTEST) -rf; status=$$?; [ $$status -eq 1 ] || exit $$status; \
		$(BIN)/python -m pytest -n0 --last-failed --last-failed-no-failures none
check: .venv/dev.stamp    ## Check format, lint, types, import contracts and generated documents.
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache && $(BIN)/python -m docs.generate --check
fmt: .venv/dev.stamp      ## Format the code and mend what lint can mend.
	@$(BIN)/ruff check --quiet --fix-only . && $(BIN)/ruff format .
bench: .venv/dev.stamp    ## Compare with rivals on this machine; the longer runs are in docs/decisions/benchmarks.md.
	@$(BIN)/python -m bench.startup && $(BIN)/python -m bench.revocation
docs: .venv/dev.stamp     ## Write docs/reference and completions from the code.
	@$(BIN)/python -m docs.generate
lock: .venv/dev.stamp     ## Pin the newest allowed dependencies with hashes; one resolution, three files.
	@$(COMPILE) --upgrade --extra dev --group build -o requirements/dev.lock
	@$(COMPILE) -c requirements/dev.lock --extra server --group build -o requirements/server.lock
	@$(COMPILE) -c requirements/dev.lock -o requirements/client.lock

# One recipe fills the environment. --no-deps: the lock is complete, so nothing is left to resolve. --no-compile: only
# what runs gets compiled, when it first runs. No build isolation: the build tools are in the locks too. The developers'
# lock holds everything the server's holds.
.venv/%.stamp: requirements/%.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("cmdop needs Python 3.11 or newer; try: make PYTHON=/path/to/python3" if sys.version_info < (3, 11) else 0)'
	@echo "installing the locked requirements of $*, once …" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile --no-deps --require-hashes -r $<
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(if $(filter dev,$*),.venv/server.stamp)
