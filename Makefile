# Needs git, make and Python 3.11 or newer with venv; everything else comes from requirements/all.txt.

.POSIX:
.SUFFIXES:

SHELL = /bin/sh
BIN = .venv/bin
DATA = $${TAILRACE_DATA:-tailrace-data}
TESTS = tests
# The slow tests wait for an hour to end, not for a core, so there are more workers than cores.
WORKERS = 4
SECONDS = 60

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: environment ## show the whole journey, from an SDK to a file in a bucket, in about a minute
	@$(BIN)/python -m tailrace.demo

assets: environment ## fetch the browser's libraries from npm, for pages that update by themselves
	@$(BIN)/python hatch_build.py

run: environment ## start tailrace on ./tailrace-data, which is made on the first start
	@test -e "$(DATA)/format.json" || $(BIN)/tailrace init --data "$(DATA)"
	@exec $(BIN)/tailrace serve --data "$(DATA)"

test: environment ## run all tests, or those of TESTS=tests/log
	@sh scripts/debian-packages
	@sh scripts/sdks
	@sh scripts/extra clients || echo "The public client of the Export API is left out." >&2
	@sh scripts/browser
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -q $(TESTS)

screenshots: environment ## look at the pages: pictures of each in light, dark and on a phone
	@sh scripts/debian-packages
	@sh scripts/browser
	@SCREENSHOTS="$(CURDIR)/screenshots" $(BIN)/pytest -q tests/browser
	@$(BIN)/python -m tests.browser.pictures docs/pictures
	@echo "The pictures are in screenshots/, those of the documentation in docs/pictures/."

sdks: environment ## hold the official SDKs to a real service; a table of what they sent
	@sh scripts/debian-packages
	@sh scripts/sdks
	@sh scripts/extra clients || echo "The public client of the Export API is left out." >&2
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -q tests/contract

check: environment ## check style, types and the layers of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

diskfaults: environment ## let every single write fail, long; make test takes some of them
	@sh scripts/debian-packages
	@TAILRACE_LONG=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -q tests/faults

bench: environment ## measure ingest and processing; results go to bench-results
	@sh scripts/extra peers || echo "The engines without a package here are left out." >&2
	@$(BIN)/python -m benchmarks

fuzz: environment ## feed hostile bytes to each reader of input, for SECONDS=60 each
	@sh scripts/extra fuzz
	@$(BIN)/python -m fuzz --seconds $(SECONDS)

crowd: environment ## send 200 huge bodies at once, and watch the collector's memory
	@$(BIN)/python -m fuzz.crowd

powercut: environment ## show that no power cut loses anything, and that each sync is needed
	@sh scripts/debian-packages
	@$(BIN)/python -m powercut

torture: environment ## kill a service a thousand times in days of its life (KILLS, SEED, RATE)
	@$(BIN)/python -m torture $${KILLS:+--kills "$$KILLS"} $${SEED:+--seed "$$SEED"} \
		$${RATE:+--rate "$$RATE"}

outage: environment ## tell of a set-up without permissions, an outage, its mail and its end
	@$(BIN)/python -m torture.outage

environment:
	@sh scripts/environment

clean: ## remove the environment, caches and results; data folders stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@rm -rf bench-results fuzz-results screenshots tests/contract/sdks/node_modules
	@rm -rf web/node_modules src/tailrace/web/static/vendor
	@find src tests benchmarks fuzz powercut torture -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo assets run test screenshots sdks check torture powercut diskfaults fuzz crowd bench outage environment clean
