# Each target makes .venv when it is needed. On a machine with a GPU, or to take PyTorch from another index, see README.md.
VENV ?= .venv
PYTHON ?= python3
TORCH_INDEX ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: demo test lint bench results defaults balancing privacy privacy-choice wrong-site hourly adapt benefit_study ordinal audit studies torture install clean

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

# Two workers on two cores: a second thread in each would only wait for the first.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup
# Whatever a test writes is synced to the disk, as at a hospital; in memory, where there is room, that takes no time.
# `make torture`, and the commands of .ci/run beside this one, write to the real disk.
SCRATCH ?= $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 {print "/dev/shm"}')

test: $(READY)
	$(if $(SCRATCH),TMPDIR=$(SCRATCH)) $(PYTEST) -o tmp_path_retention_policy=failed -m 'not torture' tests

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

balancing: $(READY)
	$(BIN)/python -m experiments.balancing $(DATA)

privacy: $(READY)
	$(BIN)/python -m experiments.privacy_cost $(DATA)

privacy-choice: $(READY)
	$(BIN)/python -m experiments.privacy_cost $(DATA) --choose

wrong-site: $(READY)
	$(BIN)/python -m experiments.wrong_site $(DATA)

hourly: $(READY)
	$(BIN)/python -m experiments.hourly $(DATA)

audit: $(READY)
	$(BIN)/python -m experiments.audit

adapt benefit_study ordinal: $(READY)
	$(BIN)/python -m experiments.$@ $(DATA)

studies: results defaults balancing privacy-choice wrong-site hourly adapt benefit_study ordinal audit

torture: COMMIT = $(shell git rev-parse --short HEAD)
torture: $(READY)
	status=0; \
	$(PYTEST) -m torture -o junit_family=xunit1 --junitxml=runs/torture/$(COMMIT).xml tests \
		|| status=$$?; \
	$(BIN)/python -m tests.e2e.fault_table runs/torture/faults.md $(COMMIT) runs/torture/$(COMMIT).xml; exit $$status

clean:
	rm -rf $(VENV) build *.egg-info runs
