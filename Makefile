# make run: the page on http://127.0.0.1:7860; make test: all fast tests; make check: linter and types.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Where PyTorch comes from before anything else is installed, as pip's --index-url: see README, "Two commands".
TORCH_INDEX ?=
# Processes that run tests; each takes about 1.5 GB. A file's tests stay together, since they share what they load.
JOBS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.PHONY: run test test-all check clean

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet torch torchvision --index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

run: $(VENV)/.installed
	$(BIN)/python app.py

test: check
	$(PYTEST)

test-all: check
	$(PYTEST) -m ''

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
