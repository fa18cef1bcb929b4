# Everything lives in this folder: the environment in .venv, the demo in demo/. A second run reuses what is there.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
# Another build of torch, such as one for CUDA: make TORCH_SPEC="torch --index-url URL" (pytorch.org/get-started names it)
TORCH_SPEC ?= -c constraints.txt torch
PIP_ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q $(PIP_ARGS)
LINKS := mlip dft_inputs workflows provenance_db
TESTS ?= tests
# Campaigns wait for their daemons some of the time: two files of tests at once, whatever the number of cores.
TEST_JOBS ?= 2

.PHONY: help demo test packages check format bench clean links install

help:
	@echo "make demo    set up what is missing and run a real campaign (a quarter of an hour on two cores)"
	@echo "make test    set up what is missing and run all tests, real pw.x and daemon included"
	@echo "make check   ruff, mypy, import rules"
	@echo "make bench   benchmarks: ratios between things run alternately"
	@echo "make clean   remove the environment, the demo and all caches"

demo: $(VENV)/installed
	$(BIN)/argonaut demo examples/demo.yaml --folder demo

# What tests need beside Python: a browser for the report, PostgreSQL and RabbitMQ for profiles on servers.
TEST_PACKAGES := chromium postgresql rabbitmq-server

test: $(VENV)/installed-dev packages
	$(BIN)/python -c "from aiida_argonaut.workflows.setup import find_pw; print('pw.x:', find_pw(None, print))"
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder --durations 25 $(TESTS)

packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(TEST_PACKAGES) >/dev/null 2>&1; then \
		echo "installing $(TEST_PACKAGES)"; apt-get update -qq && \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(TEST_PACKAGES) >/dev/null || \
		echo "not all of $(TEST_PACKAGES) could be installed: tests that need them will be skipped"; fi

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p aiida_argonaut
	$(BIN)/lint-imports

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed
	$(BIN)/python benchmarks/committee_cost.py

install: $(VENV)/installed

clean:
	@if [ -d demo/.aiida ] && [ -x $(BIN)/verdi ]; then \
		PATH="$(CURDIR)/$(BIN):$$PATH" AIIDA_PATH="$(CURDIR)/demo" $(BIN)/verdi daemon stop || true; fi
	rm -rf $(VENV) demo build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

links:
	@for name in $(LINKS); do \
		if [ ! -L src/aiida_argonaut/$$name ] || [ ! -d src/aiida_argonaut/$$name/. ]; then \
			echo "src/aiida_argonaut/$$name is not a link to $$name/. A checkout without symbolic links (Windows) makes" \
			"text files of them: use WSL, or 'git config core.symlinks true' and check out again."; exit 1; fi; done

$(VENV)/bin/pip: | links
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; } || \
		{ echo "$(PYTHON) cannot make environments; on Debian: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps are written last, so that an interrupted installation is finished by the next run.
$(VENV)/installed: pyproject.toml constraints.txt $(VENV)/bin/pip | links
	$(PIP) $(TORCH_SPEC)
	$(PIP) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) -e ".[dev]"
	@touch $@
