# All targets use a virtual environment in the project folder; the first target that needs it creates it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNS ?= runs

.PHONY: help install demo results answer-report answer-slice test slow smoke check docs notebooks site lock bench gpu clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/segmi: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "segmi needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -e '.[train,report]'
	@touch $@

$(VENV)/.test: $(BIN)/segmi
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

install: $(BIN)/segmi ## make the virtual environment and install segmi into it

demo: $(BIN)/segmi ## the whole study at small scale on generated images, a run per core
	OMP_NUM_THREADS=1 $(BIN)/segmi study run studies/demo.yaml --runs $(RUNS) --engine pool

results: $(VENV)/.test ## the demo with three seeds, written to docs/results/demo
	OMP_NUM_THREADS=1 $(BIN)/python docs/write_results.py $(RUNS)/results

answer-report: $(BIN)/segmi ## write docs/answer.md from the committed records
	$(BIN)/python docs/write_answer.py

answer-slice: $(VENV)/.test ## repeat four runs of the answer and compare them with its intervals, 15 minutes
	OMP_NUM_THREADS=1 $(BIN)/python docs/rerun_answer.py $(RUNS)/answer-slice

test: $(VENV)/.test ## the tests, one process per core and one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m 'not slow' tests

slow: $(VENV)/.test ## the tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout 3600 tests

smoke: $(VENV)/.test ## build wheel and sdist, install them in a new environment, use each extra
	$(BIN)/python tests/smoke.py

check: $(VENV)/.test ## style, types and the examples in docstrings
	$(BIN)/ruff check src tests examples benchmarks docs
	$(BIN)/ruff format --check src tests examples benchmarks docs
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/python -m pytest -q --doctest-modules src

docs: $(BIN)/segmi ## write the generated pages and images of docs
	$(BIN)/python docs/write_command_line.py
	$(BIN)/python docs/write_losses.py
	for script in docs/draw_*.py; do $(BIN)/python $$script; done

notebooks: $(VENV)/.test ## execute the notebooks of docs and store them with their outputs
	OMP_NUM_THREADS=1 $(BIN)/python docs/write_notebooks.py

lock: $(VENV)/.test ## write the installed versions, completed for other systems, to constraints.txt
	@mkdir -p build
	$(BIN)/python -m pip freeze --exclude-editable > build/installed.txt
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --constraints build/installed.txt \
	  --no-header --no-annotate --no-emit-index-url --quiet --output-file constraints.txt

$(VENV)/.site: $(BIN)/segmi
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	@touch $@

site: $(VENV)/.site ## the documentation site, in build/site/html
	$(BIN)/python docs/site/build.py

bench: $(VENV)/.test ## time and memory against other implementations, written to benchmarks/RESULTS.md
	$(BIN)/python benchmarks/results.py

gpu: $(VENV)/.test ## tests and measurements on a GPU in 8 minutes, written to benchmarks/GPU.md; small without one
	$(BIN)/python benchmarks/gpu.py

clean: ## remove caches; runs and the virtual environment stay
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist
