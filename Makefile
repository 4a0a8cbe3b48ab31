# One command per verb; each makes its own .venv when there is none. Needs Python 3.11+ and make.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first Python that is new enough; `make PYTHON=/path/to/python3.12` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

PRODUCT := mlhub_core tasks flows deployments

.PHONY: help demo dashboard test test-all test-slow test-thorough check house docs lowest sbom format bench clean

help:
	@echo "make demo      download the demo dataset, then a part of it, from a hub of our own"
	@echo "make dashboard a run of it in the Prefect UI, until Ctrl-C ends all"
	@echo "make test      the tests (five minutes at most)"
	@echo "make test-all  the slow ones too: real servers, hundreds of kills, browsers"
	@echo "make check     formatting, linting, types, and which module may import what"
	@echo "make house     how large the code is, and how its modules hang together"
	@echo "make docs      the site of docs/, into site/"
	@echo "make lowest    the demo with the lowest versions of everything that is needed"
	@echo "make sbom      a bill of materials of what is installed, CycloneDX"
	@echo "make bench     side by side with the reference client, curl, tar and DuckDB (a quarter of an hour)"
	@echo "make clean     remove virtual environments and the demo's output"

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found. Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making a virtual environment in $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing this project and what it needs, about 150 packages (one to three minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
	@echo "Installed."

demo: $(READY)
	@$(BIN)/python -m flows.demo demo-output

dashboard: $(READY)
	@$(BIN)/python -m deployments.dashboard demo-output/dashboard

# The reference client lives in an environment of its own: it needs older packages than we do.
test: $(READY)
	@$(BIN)/python scripts/reference_venv.py
	@echo "Running the tests ..."
	@$(BIN)/python -m pytest -n 2 --dist loadscope

test-slow: $(READY)
	@$(BIN)/python scripts/reference_venv.py
	@$(BIN)/python scripts/install_chromium.py
	@$(BIN)/python scripts/install_pgstac.py
	@$(BIN)/python scripts/notebook_venv.py
	@echo "Running the slow tests ..."
	@$(BIN)/python -m pytest -n 2 --dist loadscope -m slow --timeout 3600

# By hand, for now: it takes long, and finds what nobody has looked at yet.
test-thorough: $(READY)
	@echo "Running the tests of properties with more examples ..."
	@$(BIN)/python -m pytest -n 2 -m 'hypothesis and not slow' --hypothesis-profile thorough --timeout 3600

test-all: test test-slow

check: $(READY)
	@echo "Formatting ..." && $(BIN)/ruff format --check .
	@echo "Linting ..." && $(BIN)/ruff check .
	@echo "Types ..." && $(BIN)/mypy
	@echo "Imports ..." && $(BIN)/lint-imports --no-cache
	@echo "Dependencies ..." && $(BIN)/deptry $(PRODUCT)

# `make house REVISION=e8c0d9b` sets another state of the code beside this one.
house: $(READY)
	@$(BIN)/python scripts/house.py $(REVISION)

# Strict: a link within the site that leads nowhere, or anything fetched from another host, fails it.
docs: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@echo "Building the site ..."
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "It is in site/: open site/index.html."

# The oldest of everything that pyproject.toml admits still does the main job.
lowest: $(READY)
	@$(BIN)/python -m scripts.lowest_versions > .lowest.txt
	@rm -rf .venv-lowest && $(PYTHON) -m venv .venv-lowest
	@echo "Installing the lowest versions ..."
	@.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .lowest.txt .
	@.venv-lowest/bin/mlhub download --demo --output-dir .venv-lowest/demo --quiet
	@.venv-lowest/bin/mlhub verify .venv-lowest/demo/demo_crops --quiet
	@echo "The demo is whole with: $$(tr '\n' ' ' < .lowest.txt)"

# What is installed here, as CycloneDX.
sbom: $(READY)
	@$(PYTHON) -m venv .venv-sbom
	@.venv-sbom/bin/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8'
	@.venv-sbom/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml -o sbom.json
	@echo "Written to sbom.json."

format: $(READY)
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(READY)
	@$(BIN)/python scripts/reference_venv.py
	@$(BIN)/python scripts/install_nginx.py
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m benchmarks.floors

clean:
	rm -rf $(VENV) .venv-reference .venv-notebook .venv-pgstac .venv-lowest .venv-sbom .lowest.txt sbom.json demo-output build site *.egg-info
