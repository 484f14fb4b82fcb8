# What people run here. `make test` is all that CI runs: it brings what the tests need, then runs
# every check. It is quick when everything is there already.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.DEFAULT_GOAL := help

CARGO_FLAGS ?= --locked
# Who builds once, as CI does, has nothing of what makes the next build quicker: it takes half as much disk again, and time.
ifdef CI
export CARGO_INCREMENTAL ?= 0
endif
# Many tests wait for a server or a date rather than work: half as many again as there are cores run at a time.
TEST_THREADS ?= $(shell expr $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) \* 3 / 2)
PYTHON ?= python3
CLIENTS := target/clients
PYTHON_STAMP := $(CLIENTS)/python/.ready
NODE_STAMP := tests/clients/node/node_modules/.package-lock.json
WEB_STAMP := tests/clients/web/node_modules/.package-lock.json
BROWSER_STAMP := $(CLIENTS)/browser/.ready
SDK_STAMP := sdk-wasm/node_modules/.package-lock.json
GATE_STAMP := $(CLIENTS)/gate/.ready
GATE_NEEDS := $(foreach part,receipts rego secrets,tests/clients/$(part)/requirements.txt)
RUST_CLIENT := $(CLIENTS)/rust/debug/tidegate-client-rust
# What instructions are counted of. The same words as in tests/src/binary.rs, so that both share what they compile. Nothing is
# built of the module for the web here, but with it selected the macros are those that the rest of `make test` has compiled.
GUARD := --profile guard -p tidegate -p tidegate-loadtest -p tidegate-wasm --bin tidegate --bin loadtest
# What somebody sets for other builds would change what is counted.
BUILD_GUARD := (unset $$(compgen -e | grep -E 'RUSTFLAGS$$|^CARGO_PROFILE_GUARD_' || true) && \
	cargo build $(CARGO_FLAGS) $(GUARD))
# Other flag servers, for the load tests. Only `make peers` brings them; nothing of them is ours or goes with it.
PEERS := target/peers
EDGE_VERSION := 19.15.1
UNLEASH_VERSION := 7.5.1
EDGE := $(PEERS)/edge-$(EDGE_VERSION).ready
UNLEASH := $(PEERS)/unleash-$(UNLEASH_VERSION).ready
IN_PROCESS := $(PEERS)/bin/in-process-peers

.PHONY: help test lint docs tools counters clients wasm core-sources fmt bench accept-instructions peers clean-clients

help: ## Say what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

# What is fetched waits for others most of the time, and what is built for the web is on one core: they share both cores.
test: tools counters core-sources ## Install what is missing, then run every check and test
	$(MAKE) --no-print-directory clients & clients=$$!
	trap "kill $$clients" EXIT
	$(MAKE) --no-print-directory wasm
	wait $$clients
	trap - EXIT
	$(MAKE) --no-print-directory lint docs
	cargo test $(CARGO_FLAGS) --workspace --doc --quiet
	if command -v valgrind >/dev/null; then $(BUILD_GUARD); else cargo build $(CARGO_FLAGS) --workspace --bin loadtest; fi
	cargo nextest run $(CARGO_FLAGS) --workspace --test-threads $(TEST_THREADS)

lint: ## Formatting and clippy
	cargo fmt --all --check
	cargo fmt --check --manifest-path loadtest/in-process-peers/Cargo.toml
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

docs: ## Every public item documented, every link sound
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps --quiet

fmt: ## Format the code
	cargo fmt --all

bench: ## Run the load tests and the benches, each beside its baseline
	missed=0
	echo "=== loadtest" && cargo run $(CARGO_FLAGS) --release -p tidegate-loadtest -- all || missed=1
	for name in $$(sed -nE 's/^name = "([a-z-]+-bench)"/\1/p' loadtest/Cargo.toml); do
		echo "=== $$name"
		cargo run $(CARGO_FLAGS) --release -p tidegate-loadtest --bin "$$name"
	done
	cargo build $(CARGO_FLAGS) --release --bin tidegate
	echo "=== checks in JavaScript" && node loadtest/js/check-bench.mjs
	echo "=== pages" && TIDEGATE_BIN=$(CURDIR)/target/release/tidegate node loadtest/js/page-bench.mjs
	exit $$missed

accept-instructions: counters ## Count the instructions of hot paths anew, and accept them; FORCE=1 if one takes over 5 % more
	$(BUILD_GUARD)
	cargo run $(CARGO_FLAGS) -p tidegate-tests --bin accept-instructions
	git --no-pager diff --stat -- loadtest/instructions.toml

tools: ## The test runner
	@command -v cargo-nextest >/dev/null || cargo install --locked cargo-nextest

counters: ## What counts instructions
	@if ! command -v valgrind >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends valgrind || true
	fi
	command -v valgrind >/dev/null || echo "MISSING: valgrind; the tests that count instructions will be skipped" >&2

# The clients that nobody here wrote. One that cannot be built is missing, not fatal: its tests are
# then counted as skipped, and the build of the tests says so.
clients: ## The real OpenFeature clients and the verifiers that the tests drive
	@for client in $(PYTHON_STAMP) $(NODE_STAMP) $(WEB_STAMP) $(BROWSER_STAMP) $(RUST_CLIENT) $(GATE_STAMP); do
		$(MAKE) --no-print-directory "$$client" || echo "MISSING: $$client could not be made; its tests will be skipped" >&2
	done

# A virtual environment needs Python's own installer, which Debian keeps in a package of its own.
define VENV
	if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends python3-venv
	fi
	$(PYTHON) -c 'import ensurepip' || { echo "needs python3 with venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet $(foreach needs,$^,--requirement $(needs))
	touch $@
endef

$(PYTHON_STAMP): tests/clients/python/requirements.txt
	$(VENV)

# Another verifier of receipts, another interpreter of Rego, and the scanner that looks for secrets in our own release.
$(GATE_STAMP): $(GATE_NEEDS)
	$(VENV)

$(NODE_STAMP): tests/clients/node/package-lock.json tests/clients/node/package.json
	command -v npm >/dev/null || { echo "needs node 20 and npm" >&2; exit 1; }
	cd tests/clients/node && npm ci --silent
	touch node_modules/.package-lock.json

$(WEB_STAMP): tests/clients/web/package-lock.json tests/clients/web/package.json
	command -v npm >/dev/null || { echo "needs node 20 and npm" >&2; exit 1; }
	cd tests/clients/web && npm ci --silent
	touch node_modules/.package-lock.json

# A browser as people have it, of the system's own packages, and what drives it.
$(BROWSER_STAMP): tests/clients/browser/package-lock.json tests/clients/browser/package.json
	command -v npm >/dev/null || { echo "needs node 20 and npm" >&2; exit 1; }
	if [ ! -x /usr/bin/chromium ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends chromium
	fi
	test -x /usr/bin/chromium || { echo "needs /usr/bin/chromium" >&2; exit 1; }
	cd tests/clients/browser && npm ci --silent
	mkdir -p $(CURDIR)/$(@D) && touch $(CURDIR)/$@

$(RUST_CLIENT): tests/clients/rust/Cargo.toml tests/clients/rust/Cargo.lock tests/clients/rust/src/main.rs
	CARGO_TARGET_DIR=$(CLIENTS)/rust cargo build --locked --quiet --manifest-path tests/clients/rust/Cargo.toml
	touch $@

# What cannot be built for want of a tool is missing, not fatal; what does not compile is.
wasm: core-sources $(SDK_STAMP) ## The SDK for JavaScript, into sdk-wasm/dist; the server takes it in when it is built
	node sdk-wasm/build.mjs && exit 0 || status=$$?
	[ "$$status" = 3 ] || exit "$$status"
	echo "MISSING: the SDK for JavaScript could not be built; its tests will be skipped" >&2

$(SDK_STAMP): sdk-wasm/package-lock.json sdk-wasm/package.json
	command -v npm >/dev/null || { echo "needs node 20 and npm" >&2; exit 1; }
	cd sdk-wasm && npm ci --silent
	touch node_modules/.package-lock.json

# Proving that the core needs no standard library takes the sources of Rust's own libraries: rustup's
# `rust-src`, or Debian's toolchain for the web. Where rustup has no target for the web, that builds the SDK too.
core-sources: ## A toolchain that can build the core without the standard library
	@sysroot=$$(rustc --print sysroot)
	sources=lib/rustlib/src/rust/library/core
	if [ -d "$$sysroot/$$sources" ]; then exit 0; fi
	if [ -d "/usr/$$sources" ] && [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ]; then exit 0; fi
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends rustc-web cargo-web rust-web-src lld && exit 0
	fi
	echo "MISSING: no sources of Rust's core library (rustup component add rust-src, or as root on Debian:" \
		"apt-get install rustc-web cargo-web rust-web-src); the no_std test will be skipped" >&2

# Half an hour and 2 GB at the first time; for the engines a quarter of an hour and 0.8 GB more, of which 16 MB stay.
peers: $(EDGE) $(UNLEASH) $(IN_PROCESS) ## Unleash Edge, Unleash and engines of others, for `loadtest --against`

# What it is compiled of is not needed again.
$(IN_PROCESS): $(wildcard loadtest/in-process-peers/src/*.rs) loadtest/in-process-peers/Cargo.toml \
		loadtest/in-process-peers/Cargo.lock $(addprefix loadtest/src/,figures.rs in_process/measure.rs in_process/world.rs)
	CARGO_TARGET_DIR=$(PEERS)/in-process-build \
		cargo build --locked --release --manifest-path loadtest/in-process-peers/Cargo.toml
	mkdir -p $(@D)
	cp $(PEERS)/in-process-build/release/in-process-peers $@
	rm -rf $(PEERS)/in-process-build

# Its build downloads a page that describes its API; nobody looks at it here, and an empty one stands in for it.
$(EDGE):
	mkdir -p $(PEERS)/swagger-ui/dist
	touch $(PEERS)/swagger-ui/dist/swagger-initializer.js
	cd $(PEERS) && $(PYTHON) -m zipfile -c swagger-ui.zip swagger-ui && cd $(CURDIR)
	SWAGGER_UI_DOWNLOAD_URL=file://$(CURDIR)/$(PEERS)/swagger-ui.zip CARGO_TARGET_DIR=$(PEERS)/build \
		cargo install --locked --no-default-features --root $(PEERS) --version $(EDGE_VERSION) unleash-edge
	rm -rf $(PEERS)/build
	touch $@

# Without the scripts of packages: none of them is needed.
$(UNLEASH):
	command -v npm >/dev/null || { echo "needs node 20 and npm" >&2; exit 1; }
	if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends postgresql
	fi
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null || { echo "needs PostgreSQL" >&2; exit 1; }
	mkdir -p $(PEERS)/unleash
	npm install --silent --no-audit --no-fund --no-save --no-package-lock --ignore-scripts \
		--prefix $(PEERS)/unleash unleash-server@$(UNLEASH_VERSION)
	touch $@

clean-clients: ## Remove the clients, to build them anew
	rm -rf $(CLIENTS) $(foreach part,browser node web,tests/clients/$(part)/node_modules) sdk-wasm/node_modules
