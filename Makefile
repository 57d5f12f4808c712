# `make run` and `make test` do everything on a fresh machine with git, make and Python 3.11, 3.12 or 3.13.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

export PYTHONPATH := $(CURDIR)/include:$(CURDIR)/plugins
export PYTHONDONTWRITEBYTECODE :=

# A file at a time, as collected: the long ones come first, so that no worker is left with one in the end.
PYTEST := $(BIN)/$(if $(COVERAGE),coverage run -m,python -m) pytest -q --numprocesses auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install run preview check ui plan doubts erase test quick test-rest coverage lint format types chaos bench bench-extract bench-validate bench-load docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 23

run: install ## Send yesterday's stage changes: embedded parts, or yours from .env (DATE=, PIPELINE=, MODE=)
	@$(BIN)/python -m crm_to_meta_demo.run

preview: install ## Show the exact events that `make run` would send, and send nothing (DATE=, PIPELINE=)
	@MODE=preview $(BIN)/python -m crm_to_meta_demo.run

check: install ## Test warehouse, source table, token and dataset; sends nothing that Meta could use
	@$(BIN)/python -m crm_to_meta_demo.command_line check

ui: install ## Airflow in the browser, on the embedded parts (UI_PORT=8080)
	@$(BIN)/python -m crm_to_meta_demo.ui

plan: install ## Count, day by day, what a backfill would send (FROM=2026-03-01 TO=2026-03-07)
	@$(BIN)/python -m crm_to_meta_demo.command_line plan

doubts: install ## List events whose outcome is unknown, or settle them (SETTLE=arrived or SETTLE=send, RUN=...)
	@$(BIN)/python -m crm_to_meta_demo.command_line doubts

erase: install ## Forget a person in everything this project keeps; asks for the lead id, or takes LEAD=
	@$(BIN)/python -m crm_to_meta_demo.command_line erase

test: install ## Lint, types, and the tests that take less than five minutes
	@$(if $(COVERAGE),$(BIN)/coverage erase)
	@$(MAKE) --no-print-directory --jobs 3 lint types quick

quick:
	@$(PYTEST) -m "not thorough" --hypothesis-profile quick

test-rest: install ## The tests that `make test` leaves out, and the property tests with ten times the examples
	@$(PYTEST) -m "thorough or hypothesis" --hypothesis-profile thorough

coverage: install ## Of `make test COVERAGE=1 && make test-rest COVERAGE=1`
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under 98

lint:
	@$(BIN)/ruff format --check --quiet . || { echo 'Some files are not formatted; run `make format`.'; exit 1; }
	@$(BIN)/ruff check --quiet .

types:
	@$(BIN)/mypy --no-error-summary

bench: install $(VENV)-bench/.installed ## Events per second beside Meta's SDK and beside the least possible (ROWS=1000000)
	@$(VENV)-bench/bin/python benchmarks --rows $(or $(ROWS),1000000)

bench-extract: install ## Seconds of extract on a big ledger, with its plan (LEDGER=10000000 CANDIDATES=1000000)
	@$(BIN)/python benchmarks/extract.py --ledger $(or $(LEDGER),10000000) --candidates $(or $(CANDIDATES),1000000) --plan

bench-validate: install ## Seconds and memory of validate, all rows good and all bad (ROWS=1000000)
	@$(BIN)/python benchmarks/validate.py $(ROWS)

bench-load: install ## Events per second of load, with 1 to 8 requests at a time, against a stand-in that takes 300 ms
	@$(BIN)/python benchmarks/delivery.py

$(VENV)-bench/.installed: requirements-bench.txt $(VENV)/.installed
	@test -x $(VENV)-bench/bin/python || $(BIN)/python -m venv --without-pip $(VENV)-bench
	@VIRTUAL_ENV=$(CURDIR)/$(VENV)-bench $(BIN)/uv pip sync --quiet --require-hashes requirements-bench.txt
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(VENV)-bench/bin/python -c \
		'import sysconfig; print(sysconfig.get_path("purelib"))')/worker.pth" # beside the SDK, the worker's own packages
	@touch $@

chaos: install ## Kill, pause and refuse everything, and check the laws (ROUNDS=20 SEED=1 JOBS=2)
	@$(BIN)/python -W ignore tests/chaos --rounds $(or $(ROUNDS),20) --seed $(or $(SEED),1) $(if $(JOBS),--jobs $(JOBS))

format: install ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

install: $(VENV)/.installed

$(VENV)/.installed: requirements-dev.txt requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "The packages are locked for Python 3.11, 3.12 and 3.13, and $(PYTHON) is none of these;" \
			"try: make PYTHON=python3.12"; exit 1; }
	@echo "Installing the locked packages into $(VENV) (once; about 1 GB) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements-dev.txt requirements-uv.txt
	@touch $@

docs: install ## Write the generated parts of docs/ anew: settings, reasons, tables
	@$(BIN)/python -W ignore docs/generate.py

lock: install ## Lock the packages of requirements*.in anew, with hashes, for Python 3.11 to 3.13
	@for name in requirements-uv requirements requirements-dev requirements-bench; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--no-emit-find-links --custom-compile-command 'make lock' --upgrade $$name.in --output-file $$name.txt || exit 1; done

clean: ## Remove what `make run` left: embedded warehouse, logs, reports
	@rm -rf .local
