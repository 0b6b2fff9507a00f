# Every target installs what it needs into .venv, once; a change of pyproject.toml or constraints.txt installs again.
# Choose another interpreter with `make PYTHON=python3.12 …`; pass options to the program with ARGS="…".

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
STAMPS := .venv/stamps
SOURCES := fleet_dagster fleet_dagster_tests
NUMPYDOC_SOURCES = $(shell find fleet_dagster/core fleet_dagster/model -name '*.py' 2>/dev/null)

# Tests write much and wait for the disk to have it: where memory is to be had as a folder, from which programs may run, it serves.
MEMORY := $(firstword $(shell awk '$$2 == "/dev/shm" && $$4 !~ /noexec/ {print $$2}' /proc/mounts 2>/dev/null))
ROOM := $(if $(MEMORY),$(shell df -Pk $(MEMORY) | awk 'NR == 2 && $$4 > 4000000 {print "yes"}'))
PYTEST := $(if $(ROOM),TMPDIR=$(MEMORY) )$(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help up test test-docs test-all test-services test-browser chromium lint bench quality models clean

help:
	@echo "make up             start the demo fleet, the live engine, the dashboard and Dagster"
	@echo "make test           the quick tests"
	@echo "make test-docs      the commands of the documentation"
	@echo "make test-all       every test, with branch coverage"
	@echo "make test-services  the tests that need PostgreSQL"
	@echo "make test-browser   the tests that look at the dashboard in Chromium"
	@echo "make lint           style, types, layers, docstrings, dependencies"
	@echo "make bench          measure speed and cost"
	@echo "make quality        measure detection quality"
	@echo "make models         build the reference models and measure them"
	@echo "make clean          remove .venv, builds and caches"

up: $(STAMPS)/run
	@exec $(BIN)/fleet up $(ARGS)

test: $(STAMPS)/test
	$(PYTEST) -n 2 --dist worksteal -m "not slow and not services and not pages and not browser" $(ARGS)

test-docs: $(STAMPS)/test
	$(PYTEST) -n 2 -m pages $(ARGS)

test-all: $(STAMPS)/services
	$(PYTEST) -n 2 -m "not services and not browser" --cov --cov-report= --cov-fail-under=0 $(ARGS)
	$(PYTEST) -n 0 -m services --cov --cov-append $(ARGS)

test-services: $(STAMPS)/services
	@echo "These tests use the server in FLEET_TEST_POSTGRES_URL if it is set;" \
		"otherwise they start a throw-away one from the installed postgresql package."
	$(PYTEST) -n 0 -m services $(ARGS)

test-browser: $(STAMPS)/browser chromium
	$(BIN)/python -m pytest -n 0 -m browser $(ARGS)

chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
		if command -v apt-get >/dev/null && [ "$$(id -u)" -eq 0 ]; then \
			echo "Installing the package chromium for the browser tests."; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; \
		else \
			echo "Chromium is missing. On Debian and Ubuntu install the packages chromium and fonts-dejavu-core."; exit 1; \
		fi; }

lint: $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/numpydoc lint $(NUMPYDOC_SOURCES)
	$(BIN)/deptry .

bench: $(STAMPS)/bench
	$(BIN)/python -m benchmarks.speed $(ARGS)

quality: $(STAMPS)/bench
	$(BIN)/python -m benchmarks.quality $(ARGS)

models: $(STAMPS)/models
	$(BIN)/python -m fleet_dagster.reference_models build --cards docs/reference/models $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# --- environment ---

$(STAMPS)/run: EXTRAS :=
$(STAMPS)/test: EXTRAS := [test]
$(STAMPS)/services: EXTRAS := [postgres,test]
$(STAMPS)/browser: EXTRAS := [browser]
$(STAMPS)/lint: EXTRAS := [postgres,browser,lint,bench]
$(STAMPS)/bench: EXTRAS := [bench]
$(STAMPS)/models: EXTRAS := [onnx,sklearn]

$(STAMPS)/%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing fleet-dagster$(EXTRAS) into .venv; the first time takes a minute or two."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.$(EXTRAS)' -c constraints.txt
	@mkdir -p $(STAMPS) && touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
		echo "Fleet Dagster needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is not one." \
			"Name another with: make PYTHON=python3.12"; exit 1; }
	@echo "Creating .venv with $$($(PYTHON) --version)."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "Could not create .venv. On Debian and Ubuntu install the package python3-venv."; exit 1; }
