# Everything a person does with this project. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
RUFF := $(VENV)/bin/ruff
export BASE FINE_TUNED DICTIONARY

.DEFAULT_GOAL := help
.PHONY: help app test test-all coverage check tools screenshots wheelhouse bundle deploy features train languages bench browser clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

app: $(VENV)/.app  ## install what is needed and open the suite on http://127.0.0.1:7860 (FINE_TUNED=user/repo BASE=… DICTIONARY=sv)
	$(PY) spaces/suite/app.py

# Two workers with one thread each. JOBS=0: all tests in one process, which a debugger can stop.
JOBS ?= 2
PYTEST := $(PY) -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
test: $(VENV)/.test browser  ## install what is needed and run the tests (JOBS=4 on a larger machine)
	$(PYTEST)

test-all: $(VENV)/.test browser  ## the same with the tests that take minutes each
	$(PYTEST) -m "slow or not slow"

coverage: $(VENV)/.test browser  ## the tests, and which lines of the packages none of them runs
	$(PYTEST) --cov --cov-report=term

check: $(VENV)/.test  ## style, annotations, complexity (ruff) and types (mypy)
	$(RUFF) check .
	$(VENV)/bin/mypy

tools: $(VENV)/.app  ## write docs/agents.md and docs/api.md again, after a change of the tools
	$(PY) -m shared.ui.tools.document

screenshots: $(VENV)/.test browser  ## take the pictures of docs/images again
	$(PY) tests/support/screenshots.py

wheelhouse: $(VENV)/bin/python  ## a folder from which a machine without a network installs and runs everything
	.ci/wheelhouse wheelhouse $(PY)

bundle: $(VENV)/.app  ## build the five Space repositories under bundles/
	$(PY) spaces/deploy.py build

# The page without a server is bundled with a checkpoint that training's exporter converts.
deploy: $(if $(filter browser,$(APPS)),$(VENV)/.train,$(VENV)/.app)  ## put them on the Hub (APPS=suite OWNER=you FINE_TUNED=you/whisper@commit ARGS=--private)
	$(PY) spaces/deploy.py upload $(or $(APPS),suite) $(if $(OWNER),--owner $(OWNER)) $(if $(BASE),--base $(BASE)) $(if $(FINE_TUNED),--fine-tuned $(FINE_TUNED)) $(if $(DICTIONARY),--dictionary $(DICTIONARY)) $(ARGS)

FEATURES ?= feature_pipeline/configs/asterisk-it.yaml
features: $(VENV)/.app  ## build a data set (FEATURES=feature_pipeline/configs/….yaml; the Italian prompts by default)
	$(PY) -m feature_pipeline.build $(FEATURES)

# WHERE=hf-jobs: on a rented GPU of Hugging Face, the machine FLAVOR, for at most HOURS.
TRAIN ?= training/configs/italian-lora.yaml
CONFIG ?= $(TRAIN)
WHERE ?= here
FLAVOR ?= t4-small
HOURS ?= 6
train_here = training.finetune $(CONFIG) $(ARGS)
train_hf-jobs = training.jobs $(CONFIG) --flavor $(FLAVOR) --hours $(HOURS) $(if $(OWNER),--owner $(OWNER)) $(ARGS)
train: $(VENV)/.train features  ## fine-tune (CONFIG=training/configs/….yaml; WHERE=hf-jobs FLAVOR=t4-small on a rented GPU)
	$(PY) -m $(or $(train_$(WHERE)),$(error WHERE is here or hf-jobs, not $(WHERE)))

languages: $(VENV)/.train  ## fine-tune for each of nine languages and table the results; goes on where it was (LANGUAGES=da,el)
	$(PY) -m training.languages training/configs/languages.yaml $(if $(LANGUAGES),languages=[$(LANGUAGES)])

bench: $(VENV)/.app  ## this project beside its peers (ARGS="--peers ours,faster-whisper --rounds 1 --limit 20")
	$(PY) -m feature_pipeline.build feature_pipeline/configs/asterisk-en.yaml
	$(PY) -m feature_pipeline.build feature_pipeline/configs/asterisk-it.yaml
	$(PY) -m benchmarks.peers.run $(ARGS)

# A stamp for each install, renewed when the list of requirements changes. A larger install holds the smaller ones.
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --editable
REQUIREMENTS := requirements.txt pyproject.toml
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "No venv module: install python3-venv"; exit 1; }

$(VENV)/.app: $(REQUIREMENTS) | $(VENV)/bin/python
	$(INSTALL) .
	@touch $@

$(VENV)/.train: $(REQUIREMENTS) | $(VENV)/bin/python
	$(INSTALL) ".[train]"
	@touch $(VENV)/.app $@

$(VENV)/.test: $(REQUIREMENTS) | $(VENV)/bin/python
	$(INSTALL) ".[train,test]"
	@touch $(VENV)/.app $(VENV)/.train $@

# The browser tests need a Chromium. Installed where this user may install packages; else they are skipped, and say so.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  echo "Installing chromium for the browser tests"; \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends chromium fonts-noto-core >/dev/null; } || \
	  { sudo -n apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends chromium fonts-noto-core >/dev/null 2>&1; } || \
	  echo "No chromium: the browser tests will be skipped"; }

clean:  ## remove what was made here
	rm -rf $(VENV) bundles wheelhouse .pytest_cache .ruff_cache .mypy_cache *.egg-info
