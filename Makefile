# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTEST_ARGS ?=
# Two to four at a time, on two processors too, for many tests wait for devices; each may take 4 GB.
PYTEST_WORKERS ?= $(or $(shell awk '/MemAvailable/ { n = int($$2 / 4000000); print (n < 2 ? 2 : n > 4 ? 4 : n) }' \
	/proc/meminfo 2>/dev/null),2)

# The mapping of PyTorch's weights is proved against these. Of torchvision only the networks' definitions are
# used, so that no build of it has to fit.
TORCH       ?= torch==2.13.0
TORCHVISION ?= torchvision==0.28.0

# Debian's packages behind the real parts: an ARM userland with OpenSSH, adb and a phone's shell, a browser.
DEMO_PACKAGES := mmdebstrap arch-test qemu-user-static openssh-client
TEST_PACKAGES := $(DEMO_PACKAGES) openssh-server adb mksh toybox busybox gcc libc6-dev chromium \
	qemu-system-arm qemu-utils kmod e2fsprogs device-tree-compiler

.PHONY: help demo test lint digits bench-convert bench-transfer bench-setup bench-gate bench-stats accuracy clean system-demo system-test

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

demo: $(VENV)/.demo system-demo ## set up, convert a trained network, prove it, run it here and on an ARM userland
	$(BIN)/python examples/demo.py

test: $(VENV)/.test system-test ## set up, run all tests
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.test ## ruff, mypy and the budgets
	$(BIN)/python -m pytest tests/house

digits: $(VENV)/.demo ## train the demo's checkpoint again
	$(BIN)/python examples/digits/train.py

bench-convert: $(VENV)/.demo ## time EdgeKit's and the vendors' converters in turn (BENCH_ARGS="--all --repeat 5")
	$(BIN)/python tests/speed/convert.py $(BENCH_ARGS)

bench-gate: $(VENV)/.demo ## false alarms and power of the gate in simulated noise (GATE_ARGS="--times 5000")
	$(BIN)/python tests/speed/gate.py $(GATE_ARGS)

bench-transfer: $(VENV)/.test ## time pushes of 50 MB beside scp and adb push (BENCH_ARGS="--rate 0 40 --repeat 9")
	$(BIN)/python tests/speed/transfer.py $(BENCH_ARGS)

bench-setup: $(VENV)/.test ## time a warm device's set-up, without and with delay on the link (BENCH_ARGS="--delay 0 20 --tell")
	$(BIN)/python tests/speed/setup.py $(BENCH_ARGS)

bench-stats: $(VENV)/.demo ## how often the intervals hold the truth (STATS_ARGS="--draws 1000 --only P95")
	$(BIN)/python tests/speed/stats.py $(STATS_ARGS)

fuzz: $(VENV)/.test ## spoil all that devices, instruments and others' files say, for ten minutes (FUZZ_S=60)
	$(BIN)/python tests/hostile/long.py $(FUZZ_SEED)

accuracy: $(VENV)/.demo ## int8 accuracy of trained networks on photos (DATA=folder)
	$(BIN)/python tests/speed/accuracy.py $(DATA) $(ACCURACY_ARGS)

clean: ## remove what set-up and demo made (caches under ~/.cache/edgekit stay)
	rm -rf $(VENV) build demo *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[examples]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps $(TORCHVISION)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

# As root on Debian the packages are installed; anywhere else what they serve is left out, and says so.
system-demo:
	@sh .ci/packages $(DEMO_PACKAGES)

system-test:
	@sh .ci/packages $(TEST_PACKAGES)
