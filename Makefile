# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint format clean

help:
	@echo "make demo    train and compare a baseline and an SR network on drawn street scenes (some minutes on a CPU)"
	@echo "make test    run all tests"
	@echo "make lint    check style"
	@echo "make format  put style right"
	@echo "make clean   remove what make made: $(VENV), demo"

# torch goes first and alone: onedl-mmcv is then built without it, as pure Python, in seconds.
$(VENV)/installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet torch==2.13.0
	$(BIN)/pip install --disable-pip-version-check --quiet --editable '.[onedl,dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/python tools/demo.py

test: $(VENV)/installed
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	for script in tools/*.sh .ci/run; do bash -n $$script || exit 1; done

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo
