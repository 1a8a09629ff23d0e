# Two promises: `make demo` and `make test` work on a fresh machine. Everything lives in .venv of this checkout.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TEST_READY := $(VENV)/.test-ready
export UV_PYTHON_DOWNLOADS := never

.PHONY: help setup demo test test-again check format docs protos bench bench-peers conformance peers-clients peers-torchserve clean

help:  ## show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## make the virtual environment with everything the demo and the tests need

# torch is installed first and by pip: uv would take a CUDA build of several GB. torchvision without its dependencies, for the same reason;
# where its compiled part doesn't fit a CPU torch, tools/torchvision_on_cpu_torch.py lets the Python part import.
$(READY): pyproject.toml constraints.txt Makefile tools/torchvision_on_cpu_torch.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torchvision
	$(BIN)/uv pip install --quiet -p $(BIN)/python -c constraints.txt -e '.[torch,s3,dev]'
	$(BIN)/python tools/torchvision_on_cpu_torch.py install
	tools/need_kubectl
	touch $(READY)

# What only the tests need beside it.
$(TEST_READY): $(READY) tools/need_old_kubectl tools/need_debian
	tools/need_old_kubectl
	tools/need_debian prometheus=prometheus promtool=prometheus wrk=wrk
	touch $(TEST_READY)

demo: setup  ## run the whole workflow: train, archive, S3, apply, Ready, predict
	$(BIN)/python examples/mnist/demo.py

test: setup check $(TEST_READY) peers-clients  ## check and test everything
	$(BIN)/python -m pytest

test-again: setup check  ## run once more what failed in the last `make test`
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

check: setup  ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup  ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: setup  ## compile the .proto files after one changed
	$(BIN)/python tools/compile_protos.py

docs: setup  ## write what of docs/ comes from the code: configuration.md, inference-service.md, metrics.md, troubleshooting.md's table
	$(BIN)/python -m tools.configuration_reference
	$(BIN)/python -m tools.inference_service_reference
	$(BIN)/python -m tools.metrics_reference
	$(BIN)/python -m tools.troubleshooting

bench: setup  ## measure, beside the peers that `make bench-peers` installed (see benchmarks/README.md)
	tools/need_debian wrk=wrk
	$(BIN)/python -m benchmarks --write

bench-peers: setup peers-torchserve .peers/servers/.ready .peers/mlserver/.ready  ## install the peers that `make bench` compares with
	tools/need_debian wrk=wrk nginx=nginx-light

# The peers' environments have the same torch as ours, so that all sides do the same work.
.peers/servers/.ready .peers/mlserver/.ready: .peers/%/.ready: benchmarks/peers/%.txt constraints.txt tools/torchvision_on_cpu_torch.py | $(READY)
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -c "import torch" 2>/dev/null || $(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torchvision
	$(BIN)/uv pip install --quiet -p $(@D)/bin/python -r $<
	$(@D)/bin/python tools/torchvision_on_cpu_torch.py install
	touch $@

# The client libraries that people use, each in an environment of its own: they hold other versions than we do, and exclude each other.
peers-clients: .peers/tritonclient/.ready .peers/kserve/.ready  ## make environments with tritonclient and the kserve SDK

.peers/tritonclient/.ready: tests/clients/triton_requirements.txt | $(READY)
	test -x $(@D)/bin/python || $(BIN)/uv venv --quiet -p $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet -p $(@D)/bin/python -r $<
	touch $@

.peers/kserve/.ready: tests/clients/kserve_requirements.txt | $(READY)
	test -x $(@D)/bin/python || $(BIN)/uv venv --quiet -p $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet -p $(@D)/bin/python -r $<
	touch $@

PEER := .peers/torchserve

# The real TorchServe, to compare with; it needs Java 17 and is never on the way of `make test`. torch and torchvision as in setup.
peers-torchserve: $(PEER)/.ready  ## make an environment with the real TorchServe 0.12.0

$(PEER)/.ready: tests/conformance/peer-requirements.txt constraints.txt tools/torchvision_on_cpu_torch.py
	test -x $(PEER)/bin/python || $(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -c "import torch" 2>/dev/null || $(PEER)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torchvision
	$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r tests/conformance/peer-requirements.txt
	$(PEER)/bin/python tools/torchvision_on_cpu_torch.py install
	touch $(PEER)/.ready

conformance: setup peers-torchserve  ## compare every case with the real TorchServe (see tests/conformance/README.md)
	$(BIN)/python -m tests.conformance.compare

clean:  ## remove what was made
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
