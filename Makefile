# make setup | demo | test | faults | dist-test | matrix | gpu-check.   PYTHON=python3.10, VENV=folder and GPU=cu117 or
# cu100 (a file in requirements/; none: the CPU) override the defaults.
PYTHON ?= python3
VENV ?= .venv
VERSIONS = 3.8 3.9 3.10 3.11 3.12
TESTS ?= tests
# What runs once more without the operator of native/.
AGAIN = $(if $(filter tests,$(TESTS)),$(wildcard tests/test_native.py tests/test_model_*.py tests/test_training.py \
    tests/test_training_faults.py tests/test_training_start.py tests/test_inference.py),$(TESTS))
# An environment stays what it was made for: after `make setup GPU=cu117` a plain `make test` uses that MXNet.
GPU ?= $(lastword $(subst -, ,$(filter-out %-dev,$(wildcard $(VENV)/stamp-*-cu*))))

PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
# The stamps carry version and content, so that another Python or a changed file sets up anew and nothing else does.
STAMP := $(VENV)/stamp-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')$(addprefix -,$(GPU))
REQUIREMENTS = $(if $(GPU),requirements/$(GPU).txt,requirements.txt)

.PHONY: setup setup-dev native export-setup bench-setup demo test dist-test horovod faults lint matrix gpu-check clean

setup: $(STAMP) native

$(STAMP): $(REQUIREMENTS)
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) -r $<
	touch $@

setup-dev: $(STAMP)-dev native

$(STAMP)-dev: $(STAMP) requirements/dev.txt
	$(PIP) -r requirements/dev.txt
	touch $@

# The operator of native/, where there is a compiler for it; everything works without.
native: $(STAMP)
	$(VENV)/bin/python -m native.build

export-setup: setup
	$(PIP) -r requirements/export.txt

# PyTorch and ONNX Runtime for python -m tools.benchmark, where another numpy is.
bench-setup:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/bench.txt

demo: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tools.demo

lint: setup-dev
	$(VENV)/bin/ruff check .

test: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile $(TESTS)
	ATAC_NATIVE=0 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile $(AGAIN)

# Jobs of several workers: real processes on this machine.
dist-test: setup-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -W ignore -m tests.dist

# Horovod from source, which takes five minutes and needs cmake and g++.
horovod: .venv-horovod/stamp
	OMP_NUM_THREADS=1 .venv-horovod/bin/python -W ignore -m tests.dist --only Horovod

.venv-horovod/stamp: requirements.txt requirements/horovod.txt
	$(PYTHON) -m venv --clear .venv-horovod
	.venv-horovod/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/horovod.txt
	HOROVOD_WITH_MXNET=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_PYTORCH=1 \
	HOROVOD_WITHOUT_TENSORFLOW=1 .venv-horovod/bin/python -m pip install --quiet --disable-pip-version-check \
	    --no-build-isolation horovod==0.28.1
	touch $@

faults: setup-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -W ignore -m tests.faults

matrix:
	@for version in $(VERSIONS); do \
	  if python$$version -c '' 2>/dev/null; then \
	    if $(MAKE) --no-print-directory test PYTHON=python$$version VENV=.venv-$$version > .matrix-$$version.log 2>&1; \
	    then echo "python$$version: passed: $$(tail -n 1 .matrix-$$version.log)"; \
	    else echo "python$$version: FAILED, see .matrix-$$version.log"; failed=1; fi; \
	  else echo "python$$version: not found"; fi; \
	done; exit $${failed:-0}

# Looks for a GPU before it installs the 4 GB of cu117.
gpu-check:
	$(PYTHON) -m tools.gpu_check --look
	$(MAKE) --no-print-directory setup GPU=$(or $(GPU),cu117)
	$(VENV)/bin/python -m tools.gpu_check

clean:
	rm -rf $(VENV) build *.egg-info .venv-3.* .venv-horovod .venv-bench .matrix-3.*.log .pytest_cache .ruff_cache
