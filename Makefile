# Every target sets itself up in .venv; nothing is installed outside this folder.

# Any Python from 3.11 on: `make PYTHON=python3.12 demo` names one.
ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(or $(shell for p in $(CANDIDATES); do \
	$$p -c '$(ENOUGH)' >/dev/null 2>&1 && echo $$p && break; done),python3)

VENV := .venv
RUN := $(VENV)/bin/python
PYTEST_ARGS ?=

# What `make quick` runs: the engine, objects and sessions as callers meet them, without crashes, the
# tools, the command line and the page.
QUICK := tests/test_architecture.py $(addprefix tests/,aio api compaction contract docs files fs model \
	regressions rules sessions share state testing tools)

.PHONY: help dist build demo quick test test-plain check test-planted build-sanitized test-sanitized fuzz \
	fuzz-sanitized wheel bench bench-full bench-processes oracle failover clean
.DEFAULT_GOAL := help

help:
	@echo "make demo          run a month of flights through the engine, kill -9 included"
	@echo "make quick         the fast tests, in under a minute on one core"
	@echo "make build         compile what has changed of the hot modules"
	@echo "make test          all tests but the planted ones, compiled"
	@echo "make test-plain    the same tests in plain Python"
	@echo "make check         ruff, mypy --strict, the floors of the house"
	@echo "make test-planted  the tests of the tests: planted bugs must be caught"
	@echo "make test-sanitized  the compiled engine under AddressSanitizer and UBSan"
	@echo "make fuzz          a million inputs to each decoder of bytes from disk"
	@echo "make fuzz-sanitized  the same for those in C, under AddressSanitizer and UBSan"
	@echo "make dist          what is published, tried in empty environments of each Python there is"
	@echo "make wheel         a compiled wheel for Linux, in dist"
	@echo "make bench         the benchmark against other embedded stores"
	@echo "make bench-full    what takes longer: loads, YCSB, growth; fills docs/benchmarks.md"
	@echo "make bench-processes  several processes on one directory, beside redis-server on a socket"
	@echo "make oracle        a long campaign: 5,000 programs and 1,000 crash images against 0.1.0"
	@echo "make failover      a PostgreSQL cluster whose leader is killed ten times under eight writers"
	@echo "make clean         remove .venv, .venv-oracle, caches and builds"

# It knows by itself what has changed, and takes a tenth of a second if nothing has.
build: $(VENV)/.stamp-test
	@$(RUN) hatch_build.py

demo: $(VENV)/.stamp-demo
	$(RUN) -m examples.flights $(DEMO_ARGS)

quick: build
	@echo "The tests that are not marked slow in: $(QUICK)"
	@$(RUN) -m pytest -q -m "not slow" $(QUICK) $(PYTEST_ARGS)

test: build
	KVENGINE_COMPILED=require $(RUN) -m pytest tests --ignore=tests/planted $(PYTEST_ARGS)

# What says nothing of how the engine runs, compiled or plain, runs once: types, documents, builds, the
# command line, the page, what the tools do, the demo, and the homes of PostgreSQL and of shared
# directories, of which nothing is compiled but sessions.
ONCE := $(addprefix tests/,cli docs examples inspection postgres share ui state/test_typing.py \
	testing/test_typing.py \
	tools/test_benchmark_of_processes.py tools/test_benchmarks.py tools/test_build.py tools/test_installing.py)
test-plain: $(VENV)/.stamp-test
	KVENGINE_COMPILED=off $(RUN) -m pytest tests $(addprefix --ignore=,tests/planted $(ONCE)) \
		$(PYTEST_ARGS)

check: $(VENV)/.stamp-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy --strict kvengine examples
	$(RUN) -m pytest -q tests/test_architecture.py

# The planted bugs are in sources, which no build may hide.
test-planted: $(VENV)/.stamp-test
	KVENGINE_COMPILED=off $(RUN) -m pytest tests/planted $(PYTEST_ARGS)

# In a copy, so that what a checkout runs stays as it is. The interpreter itself is not sanitized:
# its allocator is passed by, so that each object is a block that the sanitizer watches.
SANITIZED := build/sanitized
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g
SANITIZED_TESTS ?= $(addprefix tests/,aio api compaction files fs share model regressions rules \
	sessions state twins)
SANITIZED_RUN = cd $(SANITIZED) && PYTHONPATH=$(CURDIR)/$(SANITIZED) KVENGINE_COMPILED=require \
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 PYTHONMALLOC=malloc $(CURDIR)/$(RUN)
build-sanitized: $(VENV)/.stamp-test
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r kvengine tests tools examples docs *.md pyproject.toml hatch_build.py Makefile $(SANITIZED)
	rm -rf $(SANITIZED)/kvengine/_built
	cd $(SANITIZED) && KVENGINE_CFLAGS="$(SANITIZE)" $(CURDIR)/$(RUN) hatch_build.py

test-sanitized: build-sanitized
	$(SANITIZED_RUN) -m pytest -q -p no:cacheprovider $(SANITIZED_TESTS) $(PYTEST_ARGS)

fuzz-sanitized: build-sanitized
	$(SANITIZED_RUN) -m tests.twins.fuzz $$(($(FUZZ_RUNS) / 10))

# A run of each target ends after so many inputs; one that fails leaves its input in build.
FUZZ_RUNS ?= 1000000
FUZZ_TARGETS := rows blocks filters commits indexes tombstones
fuzz: build $(VENV)/.stamp-fuzz
	mkdir -p build
	for target in $(FUZZ_TARGETS); do \
		KVENGINE_COMPILED=require $(RUN) -m tests.twins.guided $$target -runs=$(FUZZ_RUNS) \
			-timeout=5 -rss_limit_mb=1024 -verbosity=0 -artifact_prefix=build/ || exit 1; done
	KVENGINE_COMPILED=require $(RUN) -m tests.twins.fuzz $$(($(FUZZ_RUNS) / 10))

# An sdist, and a wheel that each Python builds of it, installs alone and follows README with.
dist: $(VENV)/.stamp-dist
	rm -rf dist build/tried && mkdir -p dist build
	$(RUN) -m build --sdist --outdir dist .
	$(RUN) -m twine check --strict dist/*
	$(RUN) -m tools.try_dist dist/*.tar.gz build/tried

wheel: $(VENV)/.stamp-wheel
	rm -rf build/wheel
	KVENGINE_COMPILED=require $(RUN) -m build --wheel --outdir build/wheel .
	PATH="$(VENV)/bin:$$PATH" $(RUN) -m auditwheel repair --plat manylinux_2_28_$$(uname -m) \
		--wheel-dir dist build/wheel/*.whl
	$(RUN) -m auditwheel show dist/*.whl

bench: $(VENV)/.stamp-bench build
	$(RUN) -m benchmarks $(BENCH_ARGS)

bench-full: $(VENV)/.stamp-bench build
	$(RUN) -m benchmarks.full $(BENCH_ARGS)

bench-processes: $(VENV)/.stamp-bench build
	$(RUN) -m benchmarks.processes $(BENCH_ARGS)

oracle: $(VENV)/.stamp-test
	$(RUN) -m tools.oracle $(ORACLE_ARGS)

failover: $(VENV)/.stamp-test
	$(RUN) -m tests.postgres.failover $(FAILOVER_ARGS)

clean:
	rm -rf $(VENV) .venv-oracle build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	rm -rf kvengine/_built
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps come last in each step, so that an interrupted one is done again.
$(VENV)/.stamp-venv:
	@$(PYTHON) -c '$(ENOUGH)' 2>/dev/null || { \
		echo "kvengine needs Python 3.11 or newer; '$(PYTHON)' is" \
			"$$($(PYTHON) --version 2>&1 | head -n 1)" >&2; \
		echo "name one that is: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.stamp-%: pyproject.toml | $(VENV)/.stamp-venv
	$(RUN) -m pip install -q --disable-pip-version-check -e '.[$*]'
	@touch $@
