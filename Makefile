# make demo: watch RT-DETR with H-RAMi learn; make demo-yolo: YOLO11n. make test: lint, types and tests. make slow: the proofs that take minutes.
# Each sets up the virtual environment that it needs. make demo DEMO='recipe.epochs=30' changes the demo.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?=
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: test demo demo-yolo lint types fast slow setup clean

test: lint types fast

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), f"detkit needs Python 3.10 or newer, not {sys.version.split()[0]}"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/python tools/demo.py $(DEMO)

demo-yolo: setup
	$(BIN)/python tools/demo.py configs/yolo11n.py $(DEMO)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

fast: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

slow: setup
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(VENV) build dist *.egg-info
