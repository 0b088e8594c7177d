# Two commands: `make demo` and `make test`. Both install what they need on a bare Debian 12.
REF ?= debian/12/x86_64/atomic-host
DEMO ?= build/demo
QUICK ?=
IMAGEBUILD = .venv/bin/imagebuild
PYTEST = .venv/bin/python -m pytest

.PHONY: demo test test-all fuzz lint bench faults lock

# QUICK=1: one qcow2, booted under UEFI
demo:
	@.ci/demo "$(REF)" "$(DEMO)" "$(QUICK)"

# linters are tests (tests/test_linters.py); `vm` tests boot real guests, one after the other
test: bootstrap
	@status=0; \
	.ci/unit $(PYTEST) --durations=15 --durations-min=10 || status=$$?; \
	$(PYTEST) -m "vm and not slow" --durations=40 --durations-min=10 || status=$$?; \
	exit $$status

test-all: bootstrap
	$(PYTEST)

# hostile content for every reader, 10,000 cases each (tests/fuzz); FUZZ_CASES=N for another number: hours
FUZZ_CASES ?= 10000
fuzz: bootstrap
	IMAGEBUILD_FUZZ_CASES=$(FUZZ_CASES) $(PYTEST) -n 2 tests/fuzz

lint: bootstrap
	$(PYTEST) tests/test_linters.py tests/test_house.py

bench: bootstrap
	.venv/bin/python -m tests.bench
	.venv/bin/python -m tests.bench.boots
	.venv/bin/python -m tests.bench.guests boots
	.venv/bin/python -m tests.bench.secure_boot
	.venv/bin/python -m tests.bench.cluster
	.venv/bin/python -m tests.bench.store

# kills, full and strange disks, clocks, races, load: as root, for hours; writes the table of docs/reliability.md
faults: bootstrap
	.venv/bin/python -m tests.faults

# .ci/locked: the newest releases of everything that is installed from PyPI, with their hashes
lock: bootstrap
	@.ci/lock

.PHONY: bootstrap
bootstrap:
	@.ci/bootstrap test
