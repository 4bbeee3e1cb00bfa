# One verb per task. Everything is set up as needed: the virtual environment in .venv, locked packages, the wheel.
#
#   make run      serve `headland demo`
#   make test     every check and every test of both languages
#   make lint     formatting, clippy, ruff, mypy
#   make develop  a quick build into .venv, for the edit loop
#   make model    100,000 random schedules against the model of RFC 9111
#   make kills    200 rounds of kill -9 between a purge's answer and the next, and under load with a disk tier
#   make failing  what clients notice of origins that fail, with its bars
#   make perf     the comparison with NGINX
#   make lock     the locked packages anew, from pyproject.toml
#   make clean    remove what the above made
#
# What was done is remembered by stamp files under .venv, so that a second run starts at once.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
TESTS ?= tests

SOURCES := pyproject.toml _headland.pyi Cargo.toml Cargo.lock \
	$(shell find cache edge origin purge_api -type f -not -path '*/__pycache__/*' -not -path '*/proptest-regressions/*')

.PHONY: run test lint rust-lint rust-test python-lint python-test develop model kills failing perf lock clean tools servers
.DEFAULT_GOAL := run

run: $(STAMPS)/installed
	exec $(BIN)/headland demo

test: rust-lint python-lint rust-test python-test

lint: rust-lint python-lint

rust-lint: | tools
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked -p headland-edge --features python -- -D warnings

rust-test: | tools
	cargo test --locked --workspace

python-lint: $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

python-test: $(STAMPS)/dev $(STAMPS)/installed | servers
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile $(TESTS)

develop: $(STAMPS)/dev
	rm -f $(STAMPS)/installed
	rm -rf $(STAMPS)/fast
	$(BIN)/maturin build --profile fast --locked --out $(STAMPS)/fast
	$(BIN)/pip install --quiet --no-deps --force-reinstall $(STAMPS)/fast/*.whl

model: $(STAMPS)/dev $(STAMPS)/installed
	HEADLAND_MODEL_SCHEDULES=100000 $(BIN)/pytest tests/property

kills: $(STAMPS)/dev $(STAMPS)/installed
	HEADLAND_KILL_ROUNDS=200 $(BIN)/pytest tests/test_purge_api_process.py tests/faults/test_disk.py -k kill

failing: $(STAMPS)/dev $(STAMPS)/installed
	$(BIN)/python -m perf.failing

perf: $(STAMPS)/dev $(STAMPS)/installed | servers
	$(BIN)/python -m perf

# The release build, the same for running, testing and measuring; cargo itself sees that nothing of Rust changed.
$(STAMPS)/installed: $(SOURCES) $(STAMPS)/run
	rm -f dist/headland-*.whl
	$(BIN)/maturin build --release --locked --out dist
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/headland-*.whl
	touch $@

$(STAMPS)/run: requirements/run.txt requirements/build.txt $(STAMPS)/venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt -r requirements/build.txt
	touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/run
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

$(STAMPS)/venv: | tools
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	mkdir -p $(STAMPS)
	touch $@

tools:
	@bash .ci/need.sh $(PYTHON)

servers:
	@bash .ci/servers.sh

lock:
	$(BIN)/pip install --quiet uv
	bash .ci/lock.sh $(BIN)/uv

clean:
	rm -rf $(VENV) dist target .mypy_cache .ruff_cache .pytest_cache .hypothesis
