# Everything a developer runs. One command each, also on a fresh machine.
SEEN := python3 python3.13 python3.12 python3.11 $(wildcard $(HOME)/.pyenv/versions/3.1[1-9]*/bin/python)
PYTHON ?= $(shell for p in $(SEEN); do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$p && break; done)
# A Python that was asked for gets an environment of its own.
VENV ?= .venv$(if $(filter-out file,$(origin PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
SOURCES := csrc/core csrc/binding $(shell find csrc -name '*.[ch]') setup.py tools/cflags.py tools/hiredis_source.py third_party/hiredis.pin
SERVER := s=$$($(BIN)/python tools/testserver.py) && \
	SEQCACHE_TEST_OLD_SERVER=$$($(BIN)/python tools/testserver.py --old) PATH="$$(dirname $$s):$(abspath $(BIN)):$$PATH"

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 8
demo: $(VENV)/built ## a 20-second tour of seqcache, no server needed
	@$(BIN)/seqcache demo $(ARGS)
test: $(VENV)/built $(VENV)/group-test ## the test suite, on a real server that it finds or gets (ARGS=...)
	@$(SERVER) sh tools/test.sh $(BIN)/pytest $(ARGS)
build: $(VENV)/built ## the extension, and an editable install in $(VENV)
ctest: $(VENV)/built ## the C unit programs under ASan, UBSan and TSan
	@$(BIN)/python tests/c/run.py $(ARGS)
check: $(VENV)/built $(VENV)/group-check ## ruff, mypy, stubtest, house style
	@PATH="$(abspath $(BIN)):$$PATH" sh tools/check.sh
types: $(VENV)/built $(VENV)/group-types ## what users' type checkers say: mypy, pyright, stubtest
	@SEQCACHE_TYPES=1 $(BIN)/pytest tests/typing $(ARGS)
ecosystem: $(VENV)/built $(VENV)/group-test ## services, projects and a notebook with the built wheel
	@$(SERVER) SEQCACHE_ECOSYSTEM=1 $(BIN)/pytest tests/ecosystem $(ARGS)
asan: $(VENV)/built $(VENV)/group-test ## the suite with the extension under ASan and UBSan
	@$(SERVER) sh tools/asan.sh $(BIN)/python $(ARGS)
tsan: $(VENV)/built ## the threaded C programs under TSan
	@$(BIN)/python tests/c/run.py tsan $(ARGS)
docs: $(VENV)/built $(VENV)/group-docs ## the documentation in docs/_build, its links and examples checked
	@$(BIN)/pytest -q tests/docs $(ARGS) && $(BIN)/python -m sphinx -q -W docs docs/_build/html
bench: $(VENV)/built $(VENV)/group-bench ## the speed table against other clients
	@$(SERVER) $(BIN)/python -m bench $(ARGS)
chaos: $(VENV)/built $(VENV)/group-test ## faults against real servers for CHAOS_MINUTES (ARGS="--both 3 eviction")
	@$(SERVER) $(BIN)/python -m tests.chaos $(ARGS)
wheels: $(VENV)/group-wheels ## a release in dist: built twice, checked, tried
	@$(BIN)/python tools/wheels.py $(ARGS)
fmt: $(VENV)/group-format ## format C and Python
	@$(BIN)/clang-format -i csrc/*/*.[ch] && $(BIN)/ruff format
.PHONY: help demo test build ctest check types ecosystem asan tsan docs bench chaos wheels fmt

$(VENV)/ready:
	@test -n "$(PYTHON)" || { echo "seqcache needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 1; }
	@sh tools/venv.sh "$(PYTHON)" $(VENV)
	@$(PIP) install -U 'pip>=25.1' 'setuptools>=77.0.3' && touch $@
$(VENV)/built: $(VENV)/ready $(SOURCES) pyproject.toml
	@echo "building seqcache for $$($(BIN)/python -V)" && $(PIP) -q install --no-build-isolation -e . && touch $@
$(VENV)/group-bench: $(VENV)/ready bench/requirements.txt
	@$(BIN)/python -m bench.peers && touch $@
$(VENV)/group-%: $(VENV)/ready pyproject.toml
	@$(PIP) install --group $* && touch $@
