PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup search test test-all bench lint chaos audit docs-images

setup: .venv/installed

# Reinstalled when the dependencies change; pip itself does nothing where all is there. The estimate compiles loops,
# which are kept beside the code: in a fresh copy the first search would take half a minute longer.
.venv/installed: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is missing; install Python 3.11 or say make PYTHON=…" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	rm -rf .venv/estimate
	$(BIN)/python -m hass_train.estimate 'model.input_size=[1,32,32]' profile.pair_density=0.25 \
		hydra.run.dir=.venv/estimate > /dev/null
	touch $@

search: setup
	$(BIN)/python search.py model=mobilenetv3 hw=u250

test: setup
	$(BIN)/python -m pytest

# With those marked nightly (kills, launchers, a database, many processes) and 300 examples of every property.
test-all: setup
	$(BIN)/python -m pytest -m "" --hypothesis-profile=nightly --timeout=900

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/explore.py
	$(BIN)/python benchmarks/step.py

# Twenty searches killed at random moments and resumed; the table is benchmarks/results/chaos.md.
chaos: setup
	$(BIN)/python -m tests.chaos.kills --kills 20

# The pictures of README and docs, from the tutorial's runs: half an hour, and Chromium and the images of Fashion-MNIST.
docs-images: setup
	$(BIN)/python -m benchmarks.docs_images

# Known vulnerabilities of what is installed; asks a server.
audit: setup
	$(BIN)/pip-audit --skip-editable
