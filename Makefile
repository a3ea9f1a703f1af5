# Each target makes .venv when it is needed. On a machine with a GPU, or to take PyTorch from another index, see README.md.
VENV ?= .venv
PYTHON ?= python3
TORCH_INDEX ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: demo test lint bench results defaults privacy studies torture install clean

DATA ?= ../shared/data

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt setuptools
	$(PIP) install -c constraints.txt torch==2.13.0 $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[simulation,test,lint]'
	touch $(READY)

demo: $(READY)
	$(BIN)/consilium demo --out runs/demo

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadgroup -m 'not torture' tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks

results: $(READY)
	$(BIN)/python -m experiments.results $(DATA)

defaults: $(READY)
	$(BIN)/python -m experiments.defaults $(DATA)

privacy: $(READY)
	$(BIN)/python -m experiments.privacy_cost $(DATA)

studies: results defaults privacy

torture: $(READY)
	$(BIN)/pytest -n 2 --dist loadgroup -m torture --junitxml=runs/torture/$(shell git rev-parse --short HEAD).xml tests

clean:
	rm -rf $(VENV) build *.egg-info runs
