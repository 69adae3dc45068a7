# textdiff: every command of the project. `make infill TEXT="The little dog ran into the [MASK]."` is the first one to try.
#
# The environment is made once, in .venv, from the exact versions in constraints.txt; afterwards a stamp file
# makes the installation a no-op. On Linux without a GPU, set pip's extra
# index to PyTorch's CPU one: 200 MB instead of several GB.

VENV ?= .venv
JOBS ?= 2
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
PROJECT := pyproject.toml constraints.txt Makefile
TESTS ?= tests

# Texts pass through the environment, unexpanded: quotes, brackets and dollar signs arrive as they were typed.
unexport TEXT
unexport ARGS

.PHONY: help infill generate test lint types wheel clean text-given
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:
	@echo 'make infill TEXT="The little dog ran into the [MASK]."   fill the blanks of a sentence (ARGS="--num-samples 5")'
	@echo 'make generate                                            write sentences from pure noise (ARGS="--seed 1")'
	@echo 'make test                                                run all tests on $(JOBS) processes (TESTS=tests/diffusion)'
	@echo 'make lint | types | wheel | clean                        check style, check types, build dist/*.whl, remove caches'

infill: export TEXTDIFF_TEXT := $(value TEXT)
infill: text-given $(STAMP)
	@$(VENV)/bin/python scripts/infill.py --text="$$TEXTDIFF_TEXT" $(ARGS)

text-given: export TEXTDIFF_TEXT := $(value TEXT)
text-given:
	@[ -n "$$TEXTDIFF_TEXT" ] || { echo 'Give a sentence with a blank: make infill TEXT="The little dog ran into the [MASK]."' >&2; exit 2; }

generate: $(STAMP)
	@$(VENV)/bin/python scripts/generate.py $(ARGS)

# One thread for each test process: on a small machine more threads only wait for each other.
test: export OMP_NUM_THREADS ?= 1
test: export TORCH_NUM_THREADS ?= 1
test: $(TEST_STAMP)
	$(VENV)/bin/python -m pytest -q -n $(JOBS) --dist loadfile $(TESTS)

lint: $(TEST_STAMP)
	$(VENV)/bin/ruff check .

types: $(TEST_STAMP)
	$(VENV)/bin/mypy

wheel: $(TEST_STAMP)
	$(VENV)/bin/python -m pip wheel -q --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find textdiff scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python that is new enough makes the environment; PYTHON=/path/to/python3.12 chooses another.
$(VENV)/bin/pip:
	@found=; for p in $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python3.14 python); do \
	  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$p; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "textdiff needs Python 3.11 or newer, and $(or $(PYTHON),python3) is none: install one, or name it with PYTHON=/path/to/python3.11." >&2; exit 2; \
	fi; \
	$$found -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module failed (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 2; }

$(STAMP): $(PROJECT) | $(VENV)/bin/pip
	@echo "Installing textdiff and its dependencies into $(VENV): takes about 2 minutes, plus the download, and happens once." >&2
	@$(PIP) -e . || { echo "The installation failed; the line above says why. It needs a package index (network) and about 2 GB of disk." >&2; exit 2; }
	@touch $@

$(TEST_STAMP): $(PROJECT) | $(VENV)/bin/pip
	@echo "Installing textdiff with its test tools into $(VENV): takes about 3 minutes, plus the download, and happens once." >&2
	@$(PIP) -e ".[test]" || { echo "The installation failed; the line above says why. It needs a package index (network) and about 2 GB of disk." >&2; exit 2; }
	@touch $@ $(STAMP)
