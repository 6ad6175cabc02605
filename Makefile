# The two that matter: `go run ./cmd/hello` and `make test`.

GO             ?= go
MODULES        := . cmd bench examples
# Tests with dependencies that must not reach the library.
TEST_MODULES   := framing/internal/difftest peer/internal/nettest peer/invalidate/internal/pgtest
GOLANGCI       := $(CURDIR)/.bin/golangci-lint
GOLANGCI_VERSION := v2.15.0
# Besides linux/amd64, which lint vets. The programs and what they need take long to compile: one other system is enough to see
# that it is no error there.
PLATFORMS      := linux/arm64 darwin/arm64 freebsd/amd64 windows/amd64
CROSS          := $(PLATFORMS:%=%:.) $(foreach module,$(filter-out .,$(MODULES)),linux/arm64:$(module) darwin/arm64:$(module))
# Executions for each fuzz target. A bound in time, as in FUZZTIME=10m, works too, but go test -fuzz then fails now and
# then at the end with nothing but "context deadline exceeded".
FUZZTIME       ?= 100000x
SOAK           ?= 10m

.PHONY: all test test-coherence lint cross fuzz soak bench loss chaos fmt websocket-client

all: lint cross test

# All tests of all modules. The only green is with the race detector and in any order; what takes one goroutine many steps
# runs without, since it would take ten times the time to find nothing. One command runs all others, those that take longest
# first, so that no CPU is idle; a test of processes waits more than it computes, so one package more runs at once than
# there are CPUs, with 4 tests of each.
# lint vets. A hang is found by the test that waits (internal/await): the time-out is for a machine with a tenth of the speed.
SEQUENTIAL     := framing/internal/difftest cluster/internal/portgroup cluster/internal/simulation bench/report bench/sim
PACKAGES       := $(shell echo $$((1 + $$(nproc || echo 2))))
LONGEST        := ./cluster ./peer/invalidate ./cmd/chat ./bench/cost
test:
	$(GO) test -vet=off -shuffle=on -timeout 3h $(SEQUENTIAL:%=./%)
	$(GO) test -race -vet=off -shuffle=on -p $(PACKAGES) -parallel 4 -timeout 3h $(LONGEST) \
		$(patsubst %,./%/...,$(filter-out $(SEQUENTIAL),$(MODULES) $(TEST_MODULES)))

# What the test of package peer with a WebSocket client of Node needs. Without it, that test skips.
websocket-client:
	cd peer/testdata/ws && npm ci --ignore-scripts

lint: $(GOLANGCI)
	@set -e; for module in $(MODULES) $(TEST_MODULES); do \
		echo "golangci-lint: $$module"; (cd $$module && $(GOLANGCI) run ./...); \
	done

fmt: $(GOLANGCI)
	@set -e; for module in $(MODULES); do (cd $$module && $(GOLANGCI) fmt ./...); done

$(GOLANGCI): Makefile
	GOBIN=$(CURDIR)/.bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@touch $@

# The library compiles everywhere, and the programs on Linux and macOS, tests too (vet type-checks them).
cross:
	@set -e; for target in $(CROSS); do \
		platform=$${target%:*}; module=$${target#*:}; echo "cross: $$platform $$module"; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) -C $$module vet ./...; \
	done

# Each fuzz target, FUZZTIME times.
fuzz:
	@set -e; for package in $$($(GO) list ./... $(TEST_MODULES:%=./%/...)); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "fuzz: $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

# Processes join, leave and die under messages for SOAK: nothing may leak.
soak:
	MULTINODE_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 2h -run '^(TestSoak|TestChurn)$$' ./peer/bus

# No stale read of the cache while processes die, stop, leave and come, as nodes of a cluster, too; and a stale one without each
# of its rules. READS is how many reads are checked, SEED repeats the faults. See docs/cache.md.
READS          ?=
SEED           ?=
test-coherence:
	COHERENCE_READS=$(READS) COHERENCE_SEED=$(SEED) $(GO) test -count=1 -v -timeout 24h \
		-run '^(TestCoherence|TestLinearizable|TestStaleSet|TestMutants|TestWriterThatDies|TestCacheWithACopy)' ./peer/invalidate

# Which way to share a port is the best, and when: tables and a report. See bench/README.md. Then what the cache costs and
# brings: tables. See bench/cost/README.md.
bench:
	$(GO) run ./bench
	$(GO) run ./bench cost -only cache

# That drains, reloads and dead masters lose nothing: half an hour, or LOSS=-short. As root it runs as another user, and
# also over wires with delay. See docs/loss.md.
LOSS           ?=
loss:
	$(GO) run ./bench loss $(LOSS)

# Processes that are killed, stopped and drained at random under load, for CHAOS.
CHAOS          ?= 10m
chaos:
	$(GO) run ./bench chaos -duration $(CHAOS)
