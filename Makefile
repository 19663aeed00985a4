# Everything a developer does, one word each; `make` alone lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DISTS  := $(patsubst %/pyproject.toml,%,$(wildcard pollect-*/pyproject.toml))
PIP     = $(BIN)/python -m pip install --quiet
# For `make pythons` and `make bounds`: which Pythons, which end of the bounds; default: all.
PARTS  ?=
export PARTS
# Tests start hundreds of programs of ours: compiling all modules for each took two thirds of it.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test pythons bounds upgrade lint type bench attacks outages build image release services docs site screenshot catalogue firmware bpf clean setup fleet

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

QUICKSTART = $(BIN)/pollect run -c examples/quickstart.yml
run: $(VENV)/.installed ## Run the quickstart: this host's metrics on http://localhost:8000/
	@echo "look at http://localhost:8000/ for what runs and http://localhost:8000/metrics for all values; Ctrl-C ends it"
	@exec $(PYTHON) -m tests.tools.foreground $(QUICKSTART)

test: $(VENV)/.tools .bench/1x/.installed .bench/homematicip/.installed ## Run all tests; those whose services are absent skip and say so
	@$(BIN)/python -m pytest $(ARGS)

pythons: .bench/1x/.installed .bench/homematicip/.installed ## Run all tests on every Python that pyenv has, 3.11 to 3.13
	@$(PYTHON) -m tests.tools.pythons $(ARGS)

bounds: $(VENV)/.tools .bench/1x/.installed .bench/homematicip/.installed ## Run all tests with the lowest and the newest versions allowed
	@$(BIN)/python -m tests.tools.bounds $(ARGS)

upgrade: ## Write constraints.txt with the newest versions, and run all tests with them
	@$(PYTHON) -m tests.tools.constraints && $(MAKE) test

lint: $(VENV)/.tools ## Check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: $(VENV)/.tools ## Check types
	@$(BIN)/mypy $(addsuffix /src,$(DISTS)) tests

bench: $(VENV)/.tools .bench/1x/.installed ## Measure the figures, beside 1.x and the peers that are installed
	@$(BIN)/python -m tests.bench $(ARGS)

fleet: $(VENV)/.tools ## Disturb fleets of real daemons on a real etcd, and judge by the devices' logs
	@$(BIN)/python -m tests.fleet $(ARGS)

outages: $(VENV)/.tools ## Kill what each writer delivers to for 30 s, and count what arrives
	@$(BIN)/python -m tests.outages $(ARGS)

attacks: $(VENV)/.tools ## Attack a daemon on loopback, and print what each attack costs it
	@$(BIN)/python -m tests.attacks $(ARGS)

build: $(VENV)/.tools ## Build the wheel and source archive of every distribution into dist/
	@set -e; for dist in $(DISTS); do $(BIN)/python -m build --no-isolation --outdir dist $$dist; done

release: $(VENV)/.tools ## Raise the version, build, check, and tag: make release VERSION=x.y.z; uploads nothing
	@$(BIN)/python -m tests.tools.release $(VERSION)

IMAGE ?= localhost/pollect
image: build ## Build the container image (needs podman, or CONTAINER=docker)
	@$(or $(CONTAINER),podman) build $(if $(CONTAINER),,--format docker) -f deploy/Containerfile -t $(IMAGE) $(ARGS) .

docs: $(VENV)/.tools ## Write docs/reference.md and the tables of sources from the code
	@$(BIN)/python -m tests.tools.reference && $(BIN)/python -m tests.tools.source_tables && $(BIN)/python -m tests.tools.status_schema

site: $(VENV)/.tools ## Build the documentation as a site into .site/html
	@$(BIN)/python -m tests.tools.site

screenshot: $(VENV)/.tools ## Draw docs/page.png, the page of the quickstart, with Debian's chromium
	@$(BIN)/python -m tests.tools.screenshot

catalogue: $(VENV)/.tools ## Write what `pollect deps` knows of distributions that are not installed
	@$(BIN)/python -m tests.tools.catalogue

firmware: $(VENV)/.tools ## Build the ESPHome device that tests run (Python 3.12 or newer, g++, ninja)
	@$(BIN)/python -m tests.tools.firmware

bpf: ## Build the packet counter of K8sNamespaceTraffic (needs clang)
	@$(PYTHON) -m tests.tools.bpf

services: ## Install the Debian packages that integration tests drive (root)
	@.ci/services

setup: $(VENV)/.tools ## Make the environment with all distributions and tools

clean: ## Remove what the other targets made
	@rm -rf $(VENV) dist .site .images .bench .bounds .firmware .pythons .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.installed: constraints.txt $(wildcard pollect-*/pyproject.toml)
	@echo "installing pollect into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@$(PIP) --constraint constraints.txt $(foreach dist,$(DISTS),-e ./$(dist))
	@touch $@

$(VENV)/.tools: $(VENV)/.installed pyproject.toml
	@echo "installing the developers' tools into $(VENV) ..."
	@$(PIP) --constraint constraints.txt --group test --group lint --group build \
	  $$($(BIN)/python -m tests.tools.environments)
	@touch $@

# The simulated Homematic IP cloud that its library is tested with; it is in the source archive only.
.bench/homematicip/.installed: tests/tools/homematic_cloud.py | $(VENV)/.tools
	@echo "unpacking the cloud of homematicip into .bench/homematicip ..."
	@$(BIN)/python -m tests.tools.homematic_cloud .bench/homematicip
	@touch $@

# pollect 1.x in an environment of its own, for comparison only.
.bench/1x/.installed: tests/tools/pollect_1x.txt
	@echo "installing pollect 1.2.3 into .bench/1x, for comparison ..."
	@$(PYTHON) -m venv --clear .bench/1x
	@.bench/1x/bin/python -m pip install --quiet --requirement tests/tools/pollect_1x.txt
	@touch $@
