# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo app test browser docs numbers notebook lint format released clean

help:
	@echo "make demo    train and compare a baseline and an SR network on drawn street scenes (some minutes on a CPU)"
	@echo "make app     try the released networks on your pictures, in a page on this machine"
	@echo "make test    run all tests"
	@echo "make docs    build the pages: open site/index.html"
	@echo "make numbers  write the numbers, manuals and notebook cells in README.md and docs/ from their files"
	@echo "make notebook  execute docs/tour.ipynb and keep its outputs"
	@echo "make lint    check style"
	@echo "make format  put style right"
	@echo "make released  train, publish and record what lies in checkpoints/ again (long, see results/released.json)"
	@echo "make clean   remove what make made: $(VENV), demo, site"

# What a user needs. torch goes first and alone: onedl-mmcv is then built without it, as pure Python, in seconds.
$(VENV)/installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet torch==2.13.0
	$(BIN)/pip install --disable-pip-version-check --quiet --editable '.[onedl]'
	touch $@

# What a developer needs too. torchvision would bring a torch of its own.
$(VENV)/developer: $(VENV)/installed
	$(BIN)/pip install --disable-pip-version-check --quiet --editable '.[onedl,classification,weights,dev,docs]'
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps torchvision==0.28.0
	touch $@

demo: $(VENV)/installed
	$(BIN)/python -W ignore::UserWarning scripts/demo.py

app: $(VENV)/installed
	@$(BIN)/pip install --disable-pip-version-check --quiet --requirement projects/app/requirements.txt
	$(BIN)/python projects/app/app.py

# Each process takes whole files of tests: what a file's tests share is made once.
test: $(VENV)/developer browser
	$(BIN)/python -m pytest -n auto --dist loadfile

# The report page is tested in a browser. Without one these tests skip, and say so.
browser:
	@{ command -v chromium && command -v chromedriver; } >/dev/null || { \
		root=; [ "$$(id -u)" = 0 ] || root='sudo -n'; \
		$$root apt-get update -qq && \
		$$root apt-get install -y -qq --no-install-recommends chromium chromium-driver; \
	} || echo 'no chromium: install it and chromium-driver to test the report page in a browser' >&2

# A dead link or a missing reference fails the build.
docs: $(VENV)/developer
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo 'site/index.html'

numbers: $(VENV)/developer
	$(BIN)/python scripts/numbers_in_pages.py

notebook: $(VENV)/developer
	$(BIN)/python scripts/execute_tour.py
	$(MAKE) numbers

lint: $(VENV)/developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	for script in tools/*.sh .ci/*.sh .ci/run; do bash -n $$script || exit 1; done
	! git grep -nE '^(<{7}|>{7}) ' # what a merge left

format: $(VENV)/developer
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

released: $(VENV)/developer
	$(BIN)/python scripts/release.py

clean:
	rm -rf $(VENV) demo site
