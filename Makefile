# make demo   set up everything and run the main job on a synthetic export
# make test   set up everything and run the tests
# make check  lint, types, floor plan
# make lock   pin every package of the job image by hash (requirements.lock)
# make sbom   list them, CycloneDX (sbom.json)
# make audit  ask PyPI which of them have known weaknesses (needs the network; what cannot be asked for fails)
# make bench  measure against the peers, in one table and bench.json (EXPORT=folder, MEDS_ETL=venv, PATHLING=venv)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev

.PHONY: demo test test-slow check format bench lock sbom audit clean

demo: $(STAMP)
	$(BIN)/mayo-data demo demo

test: $(DEV)
	$(BIN)/python -m pytest -m "not slow" -n auto

test-slow: $(DEV)
	$(BIN)/python -m pytest -m slow

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)
	$(BIN)/python benchmarks/peers.py --json bench.json $(if $(EXPORT),--export $(EXPORT)) \
	  $(if $(MEDS_ETL),--meds-etl $(MEDS_ETL)) $(if $(PATHLING),--pathling $(PATHLING))

lock: $(STAMP)
	$(BIN)/python .ci/lock.py

sbom: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[sbom]"
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json

audit: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[sbom]"
	$(BIN)/pip-audit -r requirements.lock --disable-pip --require-hashes --strict

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,check]"
	if command -v java >/dev/null; then $(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[spark]" || echo "no PySpark: its tests skip"; fi
	if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix $(VENV)/azurite azurite@3 || echo "no azurite: its tests skip"; fi
	touch $@

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
