# Two commands: `make demo` and `make test`. Both install what they need on a bare Debian 12.
REF ?= debian/12/x86_64/atomic-host
DEMO ?= build/demo
IMAGEBUILD = .venv/bin/imagebuild
PYTEST = .venv/bin/python -m pytest

.PHONY: demo test test-all lint bench bootstrap

demo: bootstrap
	$(IMAGEBUILD) compose --ref $(REF) --store $(DEMO)/store
	$(IMAGEBUILD) all --ref $(REF) --store $(DEMO)/store --output $(DEMO)/release

# linters are tests (tests/test_linters.py); `vm` tests boot real guests
test: bootstrap
	$(PYTEST) -m "not slow" --durations=25 --durations-min=10

test-all: bootstrap
	$(PYTEST)

lint: bootstrap
	$(PYTEST) tests/test_linters.py

bench: bootstrap
	.venv/bin/python -m tests.bench
	.venv/bin/python -m tests.bench_guests boots

bootstrap:
	@.ci/bootstrap
