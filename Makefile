# `make` lists the targets. Everything happens in .venv; remove that folder to start afresh.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out

.PHONY: help env test browser desk slow wheel lowest-env lowest map lint docs site bench real-scores gpu fuzz torture model clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

# PyTorch comes first and by itself: any other way may pull gigabytes of GPU packages on a machine without a GPU.
# On a machine with one, set TORCH to the build you want, or to nothing to keep what is installed.
TORCH ?= torch==2.13.0

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(BIN)/python -m pip install --quiet "$(TORCH)")
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[archive,learn,desk]'
	touch $@

$(VENV)/.tested: $(VENV)/.installed requirements-test.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement requirements-test.txt
	touch $@

env: $(VENV)/.installed ## create the environment

test: $(VENV)/.tested ## create the environment and run the tests
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: $(VENV)/.tested ## run the tests that make test leaves out, of ten seconds and more each
	$(BIN)/python -m pytest -n 2 -m slow

browser: ## install what tests of the page need beside Python: Chromium, axe-core
	command -v chromium || command -v google-chrome || { apt-get update -q && apt-get install -q -y chromium; }
	mkdir -p $(OUT)/browser && cd $(OUT)/browser && npm install --silent --no-fund --no-audit axe-core@4

desk: $(VENV)/.installed ## open the desk on the bundled sample scene
	@test -d $(OUT)/sample || $(BIN)/frazil simulate --sample $(OUT)/sample
	$(BIN)/frazil desk $(OUT)/sample/*.SAFE --output $(OUT)/desk

BASE := .venv-base
wheel: $(VENV)/.installed ## build the wheel, and try it without PyTorch in an environment of its own
	rm -rf $(OUT)/wheel $(BASE)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(OUT)/wheel .
	$(PYTHON) -m venv $(BASE)
	$(BASE)/bin/python -m pip install --quiet --constraint constraints.txt $(OUT)/wheel/*.whl
	cp benchmarks/try_wheel.py $(OUT)/wheel && cd $(OUT)/wheel && $(CURDIR)/$(BASE)/bin/python try_wheel.py

LOWEST := .venv-lowest
LOWEST_TESTS := $(addprefix tests/,scene/test_grid.py scene/test_land.py sentinel1/test_product.py sentinel1/test_scene.py \
	labels/test_patches.py maps/test_export.py test_zarr_stores.py test_zarr_writing.py)
lowest-env:
	rm -rf $(LOWEST) && $(PYTHON) -m venv $(LOWEST) && mkdir -p $(OUT)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip compile --quiet --python $(LOWEST)/bin/python --only-binary :all: --resolution lowest-direct \
		--output-file $(OUT)/lowest.txt pyproject.toml
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --only-binary :all: --requirement $(OUT)/lowest.txt \
		pytest pytest-xdist hypothesis jsonschema netCDF4 rio-cogeo

lowest: lowest-env ## try the lowest versions that pyproject.toml allows, without PyTorch
	PYTHONPATH=src $(LOWEST)/bin/python -m pytest -q -n 2 --dist loadfile -p no:cacheprovider $(LOWEST_TESTS)

map: $(VENV)/.installed ## map the bundled sample scene with the bundled model
	@test -d $(OUT)/sample || $(BIN)/frazil simulate --sample $(OUT)/sample
	$(BIN)/frazil map $(OUT)/sample/*.SAFE --output $(OUT)/map --overwrite

lint: $(VENV)/.tested ## format and check the code
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/mypy

docs: $(VENV)/.installed ## write anew the pages that follow from the code
	for part in reference codes api models; do $(BIN)/python docs/write_$$part.py || exit 1; done

$(VENV)/.documented: $(VENV)/.installed requirements-docs.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement requirements-docs.txt
	touch $@

# Warnings are errors: a link that leads nowhere, a page that none links to, a docstring that cannot be read.
site: $(VENV)/.documented ## build the documentation as a site that opens without a server: out/site/index.html
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -d $(OUT)/site-kept docs $(OUT)/site
	@echo "$(OUT)/site/index.html"

bench: $(VENV)/.installed ## time frazil against other readers, side by side, and a map stage by stage
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/stages.py --model ice-measured

real-scores: $(VENV)/.installed ## score the bundled model on real ice, where the real data are at hand
	$(BIN)/python benchmarks/real_scores.py -o $(OUT)/real-ice

CIFAR10 ?= cifar10
gpu: $(VENV)/.installed ## train workers and few labels on CIFAR-10, and time a scene, on one GPU in nine minutes
	$(BIN)/python benchmarks/gpu.py --cifar10 $(CIFAR10) -o $(OUT)/gpu --minutes 9

FUZZ_MINUTES ?= 30
fuzz: $(VENV)/.tested ## attack every reader with damaged inputs; goes on where it was broken off
	$(BIN)/python benchmarks/fuzz.py --minutes $(FUZZ_MINUTES) -o $(OUT)/fuzz

torture: $(VENV)/.tested ## attack every writer with kills, rivals and full disks
	$(BIN)/python benchmarks/torture.py --minutes $(FUZZ_MINUTES)

model: $(VENV)/.installed ## train the bundled model's successor (two and a half hours on two cores)
	$(BIN)/frazil train ice_simulated:measured --output $(OUT)/ice-measured

clean: ## remove what make map wrote
	rm -rf $(OUT)
