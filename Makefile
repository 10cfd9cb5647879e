# Every target sets up what it needs, from nothing but Python, and keeps it: later runs start at once.

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo

.PHONY: demo test lint clean

# The demo runs as a user would: the package alone, without torch.
demo: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/sempic demo $(if $(IMAGE),"$(IMAGE)") -o demo-out

test: lint
	$(VENV)/bin/python -m pytest

lint: $(VENV)/ready
	$(VENV)/bin/ruff check src tests
	$(VENV)/bin/mypy

clean:
	rm -rf "$(VENV)" "$(DEMO_VENV)" demo-out build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch goes first, by its exact version: where pip's own settings name a folder of wheels, a CPU build of that version
# is taken from there; elsewhere the same command takes the registry's build.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv "$(VENV)"
	$(VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)/bin/python -m pip install --quiet -e ".[train,test]"
	touch "$@"

$(DEMO_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv "$(DEMO_VENV)"
	$(DEMO_VENV)/bin/python -m pip install --quiet -e .
	touch "$@"
