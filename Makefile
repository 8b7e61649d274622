# `make demo` and `make test` set up .venv by themselves, once, and again when pyproject.toml changes.
PYTHON ?= python3
PY := .venv/bin/python
STAMP := .venv/.ready
FAST := not vllm and not distributed and not slow and not gpu
# what `make test` runs; .ci/run leaves out what `make check` has run
TESTS ?= not gpu
PYTEST := $(PY) -m pytest -n 2 --dist loadfile $(if $(CI),--no-unexpected-skips)

.PHONY: setup demo test check bench bench-gpu clean

setup: $(STAMP)

$(STAMP): pyproject.toml scripts/install_cpu.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than Python 3.11; give another by make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) scripts/install_cpu.py
	@touch $(STAMP)

demo: $(STAMP)
	$(PY) train.py experiment=quickstart

test: $(STAMP)
	$(PYTEST) -m "$(TESTS)"

check: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PYTEST) -q -m "$(FAST)"

bench: $(STAMP)
	$(PY) benchmarks/suite.py

bench-gpu:
	$(PY) benchmarks/suite.py --gpu

clean:
	rm -rf .venv .venv-trl models runs
