# Two commands: `make quickstart` trains and translates, `make test` tests. `make help` lists the rest.

PYTHON ?= python3
# The processor's build of torch. On a machine with a GPU: make install TORCH=torch==2.13.0
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
MINUTES ?= 6.5
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

.PHONY: help install quickstart test test-slow lint docs rivals bench clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/:/'

install: $(BIN)/.installed  ## Make .venv with Onehop and what its tests need.

$(BIN)/python:
	$(PYTHON) -m venv .venv

# The first index that has the build wins: the usual one (where it carries it), torch's own, then any build.
$(BIN)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@$(PIP) '$(TORCH)' 2>/dev/null \
	  || $(PIP) '$(TORCH)' --index-url $(TORCH_INDEX) 2>/dev/null \
	  || $(PIP) '$(firstword $(subst +, ,$(TORCH)))'
	@$(PIP) -e '.[data,tensorboard,lab]' pytest pytest-xdist hypothesis beartype psutil seqeval
	@touch $@

quickstart: install  ## Train English to German on the bundled text and translate (MINUTES=6.5).
	@$(BIN)/onehop quickstart --minutes $(MINUTES)

# Two workers of one thread each: two processes of two threads would wait for each other. Files in their own order: by
# the number of their tests, the few long ones of tests/docs came last, and one worker waited for the other.
PYTEST := OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: install  ## Run the tests (about 8 minutes on two cores).
	@$(PYTEST)

test-slow: install  ## Run every test, the long ones too (hours).
	@$(PYTEST) -m 'not gpu and not browser and not data'

lint: install  ## Check format, style, types and import layers.
	@$(PIP) ruff 'pyright[nodejs]' import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: install  ## Build the documentation into site/.
	@$(PIP) mkdocs-material 'mkdocstrings[python]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Other people's software has an environment of its own. Joey NMT's pins no longer resolve, so it comes without them.
RIVALS := .rivals/bin/python -m pip install --disable-pip-version-check --quiet
rivals:  ## Make .rivals with the software that benchmarks compare Onehop to.
	$(PYTHON) -m venv .rivals
	@$(RIVALS) '$(TORCH)' 2>/dev/null \
	  || $(RIVALS) '$(TORCH)' --index-url $(TORCH_INDEX) 2>/dev/null \
	  || $(RIVALS) '$(firstword $(subst +, ,$(TORCH)))'
	@$(RIVALS) -r benchmarks/rivals/requirements.txt
	@$(RIVALS) --no-deps joeynmt==2.3.0

bench: install  ## Measure training speed beside the rivals (needs make rivals, ONEHOP_DATA, a quiet machine).
	$(BIN)/python benchmarks/train_speed.py --width 128 256 512

clean:  ## Remove what make made.
	rm -rf .venv .rivals site dist build
