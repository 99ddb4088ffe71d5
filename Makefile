# alike: `make demo` shows everything on a real model, `make test` is what CI runs.
PYTHON ?= python3
# cpu, or cuda (also for TensorRT) for the GPU build of ONNX Runtime
PROVIDER ?= cpu
ENV    := .env
VENV   := $(ENV)/venv
# Files that make fuzz reads
CASES ?= 12000000
# The browser that looks at pages: Debian's package of that name
CHROMIUM ?= chromium
# Triplets, repeats and threads of make bench-peers
N ?= 200
REPEATS ?= 2
THREADS ?= 2
DEMO   := models/smollm2-135m-instruct
ENCODER := models/all-minilm-l6-v2
GGUF   := SmolLM2-135M-Instruct.Q4_1.gguf
ALIKE  := target/release/alike
PEERS  := $(ENV)/peers/bin/python
WEIGHTS := out/peers/weights

.PHONY: help demo paper setup export export-arguments build bundle test test-export test-benches test-rust test-page test-bundle test-slurm test-querying test-spark test-faults fuzz golden golden-architectures bench bench-peers clean
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: setup build ## Everything on a real model: judgments, embeddings, alignment, a page (out/demo/report.html)
	$(ALIKE) run data/studies/demo.toml

paper: build ## The published scores of the paper's 75 models: its claims asked, a page (out/paper/report.html)
	$(ALIKE) regress data/studies/paper.toml
	$(ALIKE) report out/paper

setup: $(ENV)/runtime-$(PROVIDER).ok $(DEMO)/alike.json $(ENCODER)/alike.json ## Python environment, ONNX Runtime's library (PROVIDER=cuda: the GPU build), the demo's models

export: export-arguments $(ENV)/torch.ok ## A model folder out of a Hugging Face folder: MODEL=DIR OUT=DIR [PRECISION=fp32] [ARGS=...] (first use: 5.8 GB of packages)
	$(ENV)/torch/bin/python -m export "$(MODEL)" --out "$(OUT)" $(if $(PRECISION),--precision $(PRECISION)) $(ARGS)

export-arguments: # before 5.8 GB are fetched
	@test -n "$(MODEL)" -a -n "$(OUT)" || { echo "usage: make export MODEL=DIR OUT=DIR [PRECISION=fp16] [ARGS=--force]" >&2; exit 2; }

build: ## target/release/alike
	cargo build --release --locked

bundle: build $(ENV)/runtime-$(PROVIDER).ok ## One archive for machines without network: program, ONNX Runtime, data, licences (target/bundle/; PROVIDER=cuda)
	$(PYTHON) -m bundle.make --binary $(ALIKE) --runtime $(ENV)/runtime --provider $(PROVIDER) --out target/bundle

test: setup test-export test-benches test-rust ## Everything CI runs

test-export: $(VENV)/ok
	$(VENV)/bin/python -m unittest discover -s tests/export

test-benches:
	$(PYTHON) -m unittest discover -s tests/benches

test-rust: $(ENV)/readers.ok
	cargo fmt --check
	cargo clippy --release --all-targets --locked -- -D warnings
	ALIKE_READERS_PYTHON=$(CURDIR)/$(ENV)/readers/bin/python cargo test --release --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --locked

test-page: demo ## The pages in Chromium, with and without scripts, and pictures of them in target/pages/shots (CHROMIUM=PATH)
	@if command -v "$(CHROMIUM)" >/dev/null && command -v node >/dev/null && command -v npm >/dev/null; then \
	    cd tests/page && npm ci --silent --no-audit --no-fund && CHROMIUM="$$(command -v "$(CHROMIUM)")" node --test; \
	else echo "make test-page: skipped, for it needs chromium, node and npm"; fi

test-bundle: build $(ENV)/runtime-$(PROVIDER).ok ## The archive of make bundle, unpacked and run elsewhere
	$(PYTHON) -m unittest discover -s tests/bundle

test-slurm: build $(ENV)/runtime-$(PROVIDER).ok ## A study, and the commands of docs/operations.md, on a real Slurm started on this machine (root, Debian's slurm-wlm and munge; RECORD=docs/faults.md)
	ALIKE_RECORD=$(RECORD) $(PYTHON) tests/slurm/with_slurm.py $(PYTHON) -m unittest discover -s tests/slurm -v

test-faults: setup ## Faults on purpose, as often as docs/faults.md says, and its table
	cargo test --release --locked --test faults -- --all --record docs/faults.md

fuzz: ## Every reader with almost-right files (CASES=12000000), and the table in docs/faults.md
	cargo test --release --locked --test fuzz -- --cases $(CASES) --record docs/faults.md

test-querying: demo $(ENV)/readers.ok ## The questions of docs/querying.md, asked of the demo's output
	$(ENV)/readers/bin/python tests/readers/querying.py docs/querying.md

test-spark: demo ## The demo's judgments, in parts and put together, in Spark beside the other readers (first use: 480 MB of packages)
	@if command -v java >/dev/null; then $(MAKE) --no-print-directory $(ENV)/spark.ok && \
	    rm -rf out/compacted && $(ALIKE) compact out/demo --out out/compacted && \
	    $(ENV)/spark/bin/python tests/readers/check.py --spark out/demo/judgments out/compacted; \
	else echo "make test-spark: skipped, for it needs java"; fi

golden: setup $(ENV)/torch.ok ## Make the golden numbers again with transformers (5.8 GB of packages)
	$(VENV)/bin/python -m export.fetch demo-gguf --out $(ENV)
	$(ENV)/torch/bin/python tests/it/golden/smollm2/make.py $(ENV)/$(GGUF) data/concepts/things128.csv --onnx $(DEMO)
	$(ENV)/torch/bin/python tests/it/golden/make_tiny.py data/concepts/things128.csv
	$(ENV)/torch/bin/python tests/it/golden/templates/make.py
	$(ENV)/torch/bin/python tests/it/golden/generations.py data/concepts/things128.csv $(ENV)/$(GGUF)
	$(ENV)/torch/bin/python tests/it/golden/encoders.py data/concepts/things128.csv
	$(ENV)/torch/bin/python tests/it/golden/mathematics.py

golden-architectures: $(ENV)/torch.ok ## Make the tiny model of every architecture again, with its numbers (about ten minutes)
	$(ENV)/torch/bin/python tests/it/golden/architectures/make.py data/concepts/things128.csv
	$(ENV)/torch/bin/python tests/it/golden/architectures/make_ssm_t5.py data/concepts/things128.csv
	$(ENV)/torch/bin/python tests/it/golden/architectures/bad_input.py
	$(ENV)/torch/bin/python tests/it/golden/architectures/qwen_tokenizer.py data/concepts/things128.csv

bench: ## The kernels: wall times by criterion; instructions by valgrind beside the last committed counts (STRICT=1: fails when 3 % worse)
	cargo bench --locked --bench kernels
	$(PYTHON) benches/guard.py $(if $(STRICT),--strict)

bench-peers: setup build $(WEIGHTS)/ok ## alike beside lm-evaluation-harness, llama.cpp, onnxruntime-genai and transformers, and the READMEs' tables of it (N=200 REPEATS=2 THREADS=2; first use: 7 GB of packages)
	$(ALIKE) sample --concepts data/concepts/things128.csv --n $(N) --seed 7 --out out/peers/triplets.parquet --force --quiet
	$(PEERS) benches/peers/compare.py out/peers/triplets.parquet --model $(DEMO) --alike $(ALIKE) --provider $(PROVIDER) --threads $(THREADS) \
	    --repeats $(REPEATS) --hf $(WEIGHTS)/hf --genai $(WEIGHTS)/genai --gguf $(WEIGHTS)/f32.gguf --gguf "$(WEIGHTS)/f32.gguf --exact" \
	    --gguf $(WEIGHTS)/f16.gguf --out out/peers/run --json benches/results/peers.json
	$(PYTHON) benches/peers/table.py --write

clean: ## Remove what make and cargo built, but not the output of studies
	rm -rf target $(ENV) $(DEMO) $(ENCODER)

# --- what the targets above are made of -----------------------------------------------------------------------------

$(VENV)/ok: export/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check --no-deps -r export/requirements.txt
	touch $@

$(ENV)/runtime-$(PROVIDER).ok: $(VENV)/ok
	rm -rf $(ENV)/runtime $(ENV)/runtime-*.ok
	$(VENV)/bin/python -m export.fetch runtime --provider $(PROVIDER) --out $(ENV)/runtime
	touch $@

$(DEMO)/alike.json: $(VENV)/ok $(wildcard export/*.py)
	$(VENV)/bin/python -m export.fetch demo-model --force --out $(DEMO)
	touch $@

$(ENCODER)/alike.json: $(VENV)/ok $(wildcard export/*.py)
	$(VENV)/bin/python -m export.fetch demo-encoder --force --out $(ENCODER)
	touch $@

$(ENV)/readers.ok: tests/readers/requirements.txt
	$(PYTHON) -m venv $(ENV)/readers
	$(ENV)/readers/bin/pip install --disable-pip-version-check -r tests/readers/requirements.txt
	touch $@

$(ENV)/spark.ok: tests/readers/requirements-spark.txt tests/readers/requirements.txt
	$(PYTHON) -m venv $(ENV)/spark
	$(ENV)/spark/bin/pip install --disable-pip-version-check -r tests/readers/requirements-spark.txt
	touch $@

$(ENV)/torch.ok: export/requirements-torch.txt
	$(PYTHON) -m venv $(ENV)/torch
	$(ENV)/torch/bin/pip install --disable-pip-version-check -r export/requirements-torch.txt
	touch $@

$(ENV)/peers.ok: benches/peers/requirements.txt export/requirements-torch.txt
	$(PYTHON) -m venv $(ENV)/peers
	CMAKE_ARGS=-DLLAVA_BUILD=OFF $(ENV)/peers/bin/pip install --disable-pip-version-check -r benches/peers/requirements.txt
	touch $@

$(ENV)/$(GGUF): $(VENV)/ok
	$(VENV)/bin/python -m export.fetch demo-gguf --out $(ENV)
	touch $@

# The same weights in the form that each peer reads.
$(WEIGHTS)/ok: $(ENV)/peers.ok $(ENV)/$(GGUF) $(DEMO)/alike.json benches/peers/weights.py
	rm -rf $(WEIGHTS)
	mkdir -p $(WEIGHTS)
	$(PEERS) benches/peers/weights.py hf $(ENV)/$(GGUF) --model $(DEMO) --out $(WEIGHTS)/hf
	$(PEERS) benches/peers/weights.py genai $(WEIGHTS)/hf --out $(WEIGHTS)/genai
	$(PEERS) benches/peers/weights.py gguf $(ENV)/$(GGUF) --type f32 --out $(WEIGHTS)/f32.gguf
	$(PEERS) benches/peers/weights.py gguf $(ENV)/$(GGUF) --type f16 --out $(WEIGHTS)/f16.gguf
	touch $@
