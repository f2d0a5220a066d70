# Two commands on a fresh machine: `make demo` and `make test`. Flags for the program go through ARGS:
#   make demo ARGS="--train.steps 20"      make test ARGS="tests/ops -k parity"

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
BENCH ?= --length 4096 16384 65536 --repeats 3
PROJECT := pyproject.toml constraints.txt tools/install.sh

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench bench-cpu bench-gpu bench-cpp

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: .venv/.ready-train  ## install into .venv, train a small woven model on this machine, let it write (minutes)
	@$(BIN)/weft demo $(ARGS)

test: .venv/.ready-dev  ## install into .venv, run the whole test suite, a process for each core
	@OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile $(ARGS)

check: .venv/.ready-dev  ## lint, format, types, file sizes, links, floors; no tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tools/check_sizes.py
	@$(BIN)/python tools/check_links.py
	@$(BIN)/python tools/check_floors.py
	@$(BIN)/python tools/tables.py --check

format: .venv/.ready-dev  ## let ruff mend and format every file
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/.ready-train  ## time a decode step against dense attention on this machine
	@$(BIN)/weft bench decode $(ARGS)

bench-cpu: .venv/.ready-train  ## every benchmark on this CPU, into benchmarks/results (half an hour)
	@$(BIN)/weft bench decode --length 8192 16384 32768 65536 --repeats 25 --json benchmarks/results/decode.json
	@$(BIN)/weft bench attention $(BENCH) --json benchmarks/results/attention.json --png docs/images/attention.png
	@$(BIN)/weft bench selection $(BENCH) --json benchmarks/results/selection.json
	@$(BIN)/weft bench train --hidden-size 256 --length 4096 16384 --repeats 5 --budget 15 --json benchmarks/results/train.json
	@$(BIN)/python tools/tables.py

bench-gpu:  ## the parity suite and every benchmark on a CUDA device (8 minutes; needs torch, triton, numpy, pytest)
	@$(PYTHON) benchmarks/gpu.py $(ARGS)

bench-cpp: .venv/.ready-dev  ## build and measure a corpus of real C++ projects, and time it (Debian; half an hour)
	@$(BIN)/python benchmarks/cpp_projects.py .bench/trees
	@$(BIN)/python benchmarks/cpp.py .bench/trees
	@$(BIN)/weft bench cpp --projects .bench/trees/*/ --files 5000 --json benchmarks/results/cpp_speed.json
	@$(BIN)/weft bench cpp --projects .bench/trees/*/ --files 5000 20000 --workers 2 --tokenizer bytes --repeats 1 \
		--json benchmarks/results/cpp_memory.json
	@$(BIN)/python tools/tables.py

.venv/.ready-train: $(PROJECT)
	@PYTHON=$(PYTHON) tools/install.sh train

.venv/.ready-dev: $(PROJECT)
	@PYTHON=$(PYTHON) tools/install.sh dev
