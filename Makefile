# The README's commands for who has make. PYTHON names another Python 3.11, VENV another environment.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --overrides lock-overrides.txt

.PHONY: run test lint lock docs

run: $(VENV)/.complete
	$(BIN)/kedro run --pipeline=edit_eval

test: $(VENV)/.complete
	$(BIN)/pytest

lint: $(VENV)/.complete
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the documentation as a site, in build/site, with the study's report as an example; a warning (a broken link, a page
# without a place) is an error
docs: $(VENV)/.complete
	$(BIN)/kedro run --pipeline=study
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# after a change of the dependencies in pyproject.toml; `uv` is in the environment
lock: $(VENV)/.complete
	$(BIN)/$(LOCK) -o requirements.lock

$(VENV)/.complete: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install torch==2.13.0
	$(BIN)/pip install --no-deps -r requirements.lock -e .
	touch $@
