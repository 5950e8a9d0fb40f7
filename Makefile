# The doors of the repository: what a person or CI runs. `make` alone lists them.
# A clean machine needs Rust (with rustfmt and clippy) and apt. Root, or sudo without a password, is needed only
# when a linker or certificates are missing: scripts/tools then installs them by apt-get.
.PHONY: help tools servers test soak lint demo bench fuzz

FUZZ_SECONDS ?= 60

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

tools: ## what building needs beside Rust (a linker, certificates)
	@scripts/tools

servers: tools ## bring the real servers of the tests into .servers/ (cached)
	@scripts/servers

test: servers ## unit, doc, property and real-server tests
	cargo test --locked --workspace

soak: servers ## what takes long: a hundred kills, a target frozen for minutes, a million keys verified
	cargo test --locked --release --test it -- --ignored --nocapture

lint: tools ## format, clippy, docs, licences and advisories
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --quiet
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo deny check; \
	else echo 'skipped cargo deny: not installed (cargo install cargo-deny)'; fi

demo: servers ## a live migration between two real servers, shown and compared
	@scripts/demo

bench: servers ## migrations beside native replication (docs/performance.md), peak memory, reading of files
	cargo bench --locked --bench end_to_end -- $(BENCH_ARGS)
	cargo bench --locked --bench verify -- $(VERIFY_BENCH_ARGS)
	@benches/memory.sh
	@benches/parse.sh
	@benches/exactly_once.sh

fuzz: tools ## every fuzz target for FUZZ_SECONDS (needs nightly and cargo-fuzz)
	@scripts/fuzz $(FUZZ_SECONDS)
