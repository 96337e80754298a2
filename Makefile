# Triglot. `make` lists the targets.

GO      ?= go
BUILD   := .build
BIN     := $(BUILD)/triglot
DATA    ?= ./data
# The race detector for the Go packages: RACE=-race, as CI sets it.
RACE    ?=
# How long each fuzz target runs in `make test`.
FUZZ    ?= 1s

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Of the commit, not of the build: what is built from the same source is the same.
BUILT   ?= $(shell git log -1 --format=%ct 2>/dev/null)
LDFLAGS := -s -w -X main.gitSHA=$(VERSION) -X main.gitTime=$(BUILT)

.DEFAULT_GOAL := help

comma := ,

# part NAME, COMMAND: runs a part of the tests and says how long it took.
define part
	@start=$$(date +%s); echo "== $(1)"; \
	if { $(2); }; then echo "== $(1): ok, $$(($$(date +%s) - start)) s"; \
	else echo "== $(1): FAILED after $$(($$(date +%s) - start)) s"; exit 1; fi
endef

##@ Use

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*##/ {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: need-go ## build the binary into .build/triglot, with the profile in cmd/triglot/default.pgo
	@mkdir -p $(BUILD)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/triglot

.PHONY: run
run: build ## build, and start one member with its data under ./data
	exec $(BIN) serve --data-dir $(DATA)

.PHONY: cluster3
cluster3: build ## build, and start three members on this host with their data under ./cluster
	exec $(BIN) cluster --data-dir $(or $(CLUSTER),./cluster)

##@ Test

# The packages whose properties take long: `make test` has rapid check each 20 times instead of 100, with half
# the steps (-short); test-all, and a plain go test, do it in full.
costly = $(addprefix github.com/triglot/triglot/,core/state core/backup storage/mvcc storage/raftlog)

# Tests of packages are built without cmd/triglot/default.pgo: with it, all that the binary needs is compiled once
# more. The binary that the clients of compat-tests/ meet is built with it.
plain = GOFLAGS="$(GOFLAGS) -pgo=off"

.PHONY: test
test: need-all ## all short tests: under 20 minutes on 2 cores
	@date +%s > $(BUILD)/started
	$(call part,build,$(MAKE) -s build)
	$(call part,vet,$(plain) $(GO) vet ./... && cd compat-tests && $(GO) vet ./...)
	$(call part,unit and property tests,$(plain) $(GO) test -short $(RACE) -timeout 10m $(costly) && $(plain) $(GO) test $(RACE) -timeout 10m $(filter-out $(costly),$(shell $(GO) list ./...)))
	$(call part,fuzz targets of $(FUZZ) each,$(MAKE) -s fuzz)
	$(call part,compat-tests: rigs,cd compat-tests && $(GO) test -timeout 5m ./server/... ./zkserver/... ./bench/...)
	$(call part,compat-tests: oracle diff against etcd,cd compat-tests && $(GO) test -timeout 10m -count=1 ./oracle/...)
	$(call part,compat-tests: oracle diff against ZooKeeper,cd compat-tests && $(GO) test -timeout 10m -count=1 ./zkoracle/... ./zkframes/... ./zkops/...)
	$(call part,compat-tests: gateway against etcd's,cd compat-tests && $(GO) test -timeout 10m -count=1 ./gateway/...)
	$(call part,compat-tests: the process$(comma) its metrics and its log,cd compat-tests && $(GO) test -timeout 10m -count=1 ./process/... ./observe/...)
	$(call part,compat-tests: backups$(comma) in and out,cd compat-tests && $(GO) test -timeout 10m -count=1 ./backup/...)
	$(call part,compat-tests: across the protocols,cd compat-tests && $(GO) test -timeout 10m -count=1 ./crossproto/...)
	$(call part,compat-tests: Go clients and etcdctl,cd compat-tests && $(GO) test -timeout 10m -count=1 ./clients/...)
	$(call part,compat-tests: kill -9 and histories,cd compat-tests && $(GO) test -timeout 10m -count=1 ./crash/...)
	$(call part,compat-tests: three members under faults,cd compat-tests && $(GO) test -timeout 10m -count=1 -parallel 6 ./ensemble/... ./cluster/... ./guarantees/...)
	$(call part,compat-tests: jetcd,$(MAKE) -s jetcd)
	$(call part,compat-tests: ZooKeeper's clients and etcd3gw,cd compat-tests && $(GO) test -timeout 10m -count=1 ./zkclients/...)
	$(call part,compat-tests: tests of kazoo and go-zookeeper,cd compat-tests && $(GO) test -timeout 10m -count=1 ./foreign/...)
	@echo "== all parts: ok, $$(($$(date +%s) - $$(cat $(BUILD)/started))) s"

.PHONY: test-all
test-all: need-node test ## everything without a limit of time: long diffs, many crashes, the race detector
	$(call part,race detector,$(GO) test -race -timeout 30m -count=1 ./...)
	$(call part,clients for Node,cd compat-tests && $(GO) test -timeout 5m -count=1 ./node/...)
	$(call part,kazoo's tests$(comma) all of them,cd compat-tests && $(GO) test -timeout 30m -count=1 ./foreign/kazoo -args -whole)
	$(call part,Kafka$(comma) with its metadata in Triglot,cd compat-tests && $(GO) test -timeout 10m -count=1 ./kafka)
	$(call part,20 000 idle sessions,cd compat-tests && $(GO) test -timeout 10m -count=1 ./zkops -run Idle -args -sessions 20000 -pinging 30s)
	$(call part,TLS from every kind of store,cd compat-tests && $(GO) test -timeout 10m -count=1 ./zkclients -run TLS -args -stores all)
	$(call part,etcdctl's own checks of a server,cd compat-tests && $(GO) test -timeout 10m -count=1 ./clients/... -run Checks -args -checks)
	$(call part,oracle diff: long,cd compat-tests && $(GO) test -timeout 3h -count=1 ./oracle/... -args -seeds 20 -steps 10000 -restarts 4)
	$(call part,oracle diff against ZooKeeper: long,cd compat-tests && $(GO) test -timeout 60m -count=1 ./zkoracle/... -args -seeds 20 -steps 8600)
	$(call part,the recordings are still those of the real servers,cd compat-tests && TARGET=zookeeper $(GO) test -timeout 10m -count=1 ./zkoracle && TARGET=etcd $(GO) test -timeout 10m -count=1 ./gateway)
	$(call part,ZooKeeper's Java clients: a million changes,cd compat-tests && $(GO) test -timeout 60m -count=1 ./zkclients/... -run Ordering -args -changes 1000000)
	$(call part,across the protocols: long,cd compat-tests && $(GO) test -timeout 30m -count=1 ./crossproto/... -args -rounds 1000)
	$(call part,crash: long,$(MAKE) -s crash)
	$(call part,clusters simulated from 5000 seeds,$(GO) test -timeout 3h -count=1 ./core/consensus -run Simulation -args -sim.seeds 5000)
	$(call part,three members under faults for ten minutes,$(MAKE) -s faults FOR=10m)
	$(call part,pauses of 30 s,cd compat-tests && $(GO) test -timeout 10m -count=1 ./cluster -run 'Histories$$' -args -lasting)
	$(call part,five members with TLS under faults,cd compat-tests && $(GO) test -timeout 10m -count=1 ./cluster -run 'Histories$$' -args -size 5 -peer-tls -duration 2m)
	$(call part,the judge of clusters on a real etcd,cd compat-tests && TARGET=etcd $(GO) test -timeout 10m -count=1 -parallel 3 ./ensemble ./cluster -run 'ACutOffLeader|Histories$$|Stale|GoBack|Progress|Many|AgreeOn|Quota|FullDisk|Clocks')
	$(call part,the judge of clusters on a real ZooKeeper,cd compat-tests && TARGET=zookeeper $(GO) test -timeout 10m -count=1 ./ensemble ./cluster -run 'ACutOffLeader|Histories$$')
	$(call part,oracle diff of three members,cd compat-tests && $(GO) test -timeout 30m -count=1 ./oracle -run TestRandom -args -members 3 -seeds 6 -steps 3000 -restarts 4)
	$(call part,oracle diff of three members against ZooKeeper,cd compat-tests && $(GO) test -timeout 30m -count=1 ./zkoracle -run TestRandom -args -members 3 -seeds 6 -steps 3000)
	$(call part,jetcd on three members,cd compat-tests && MEMBERS=3 $(GO) test -timeout 10m -count=1 ./jetcd)
	$(call part,Kafka$(comma) with its metadata in three members,cd compat-tests && MEMBERS=3 $(GO) test -timeout 10m -count=1 ./kafka)
	$(call part,other clients and both faces on three members,cd compat-tests && MEMBERS=3 $(GO) test -p 1 -timeout 10m -count=1 ./clients ./zkclients ./gateway ./crossproto)
	$(call part,ZooKeeperAdmin on three real servers,cd compat-tests && TARGET=zookeeper $(GO) test -timeout 5m -count=1 ./zkclients -run Admin)
	$(call part,fuzz targets of two minutes each,$(MAKE) -s fuzz FUZZ=2m)

.PHONY: faults
faults: need-go need-java build ## three members under faults for hours: FOR=4h
	cd compat-tests && $(GO) test -timeout 0 -count=1 ./cluster/... -run 'Histories$$' -args -duration $(or $(FOR),4h)

.PHONY: guarantees
guarantees: need-go need-java build ## what each fault costs clients, beside etcd and ZooKeeper
	cd compat-tests && $(GO) run ./guarantees $(ARGS)

.PHONY: crash
crash: need-go build ## kill -9 under load, fifty times
	cd compat-tests && $(GO) test -timeout 60m -count=1 ./crash/... -args -rounds 50

# Go 1.26's fuzzer now and then reports the end of its own time as a failure (go.dev/issue/75804), without
# an input that fails. An input that does is always written down, and named.
fuzz-ran-out = { grep -q '^ *context deadline exceeded$$' $(1) && ! grep -q 'Failing input' $(1); }

fuzz-files = grep -rE '^func Fuzz' --include='*_test.go' core storage frontends cmd

.PHONY: fuzz
fuzz: need-go ## run every fuzz target for FUZZ (1s), two packages at a time
	@mkdir -p $(BUILD)/fuzz
	@$(MAKE) -s -j2 -O $(addprefix fuzz-in/,$(sort $(dir $(shell $(fuzz-files) -l))))

# The fuzz targets of a package, from a test binary that is built once, one after the other. What they find
# goes where `go test -fuzz` keeps it.
fuzz-in/%/:
	@bin=$(abspath $(BUILD)/fuzz)/$(subst /,-,$*); log=$$bin.log; \
	cache=$$($(GO) env GOCACHE)/fuzz/$$($(GO) list ./$*); \
	$(GO) test -c -fuzz . -o $$bin ./$* && cd $* && \
	for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9]+' *_test.go | cut -c 6-); do \
		echo "fuzz ./$* $$target"; \
		$$bin -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZ) -test.fuzzcachedir $$cache -test.parallel 1 > $$log 2>&1 \
			|| $(call fuzz-ran-out,$$log) || { cat $$log; exit 1; }; \
	done

.PHONY: jetcd
jetcd: need-java build ## the two Java programs and more, on an unmodified jetcd
	cd compat-tests && $(GO) test -timeout 15m -count=1 ./jetcd/...

.PHONY: oracle
oracle: need-go build ## the diff against a real etcd: SEEDS=20 STEPS=2000
	cd compat-tests && $(GO) test -timeout 60m -count=1 ./oracle/... -args -seeds $(or $(SEEDS),20) -steps $(or $(STEPS),2000)

.PHONY: zkoracle
zkoracle: need-go need-java build ## the diff against a real ZooKeeper: SEEDS=20 STEPS=8600
	cd compat-tests && $(GO) test -timeout 60m -count=1 ./zkoracle/... -args -seeds $(or $(SEEDS),20) -steps $(or $(STEPS),8600)

.PHONY: bench
bench: need-go need-java ## beside stock etcd and ZooKeeper, into docs/benchmarks.md; 100 minutes, resumable
	cd compat-tests && $(GO) run ./bench $(ARGS)

.PHONY: bench-short
bench-short: need-go need-java ## a guard against regressions: five cells of bench in under three minutes
	cd compat-tests && $(GO) run ./bench -short

.PHONY: bench-profile
bench-profile: need-go ## a CPU profile under load, for the compiler: cmd/triglot/default.pgo
	cd compat-tests && $(GO) run ./bench -pgo $(abspath cmd/triglot/default.pgo)

.PHONY: bench-go
bench-go: need-go ## Go benchmarks with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./core/... ./storage/... ./frontends/...

.PHONY: bench-heavy
bench-heavy: need-go ## memory, disk, starts and stalls with millions of keys, beside etcd; 75 minutes, resumable
	cd compat-tests && $(GO) run ./bench/heavy $(ARGS)

##@ Code

.PHONY: lint
lint: need-go ## golangci-lint, from tools.mod
	@mkdir -p $(BUILD)/bin
	$(GO) build -modfile=tools.mod -o $(BUILD)/bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	$(BUILD)/bin/golangci-lint run ./...
	$(GO) mod tidy -diff

.PHONY: fmt
fmt: need-go ## gofumpt
	$(GO) tool -modfile=tools.mod gofumpt -w core storage frontends cmd arch_test.go

.PHONY: generate
generate: need-go ## the code of the replicated command and of locks and elections, from their schemas
	@command -v protoc >/dev/null || { echo "protoc is missing: apt-get install protobuf-compiler"; exit 1; }
	@mkdir -p $(BUILD)/bin
	GOBIN=$(abspath $(BUILD)/bin) $(GO) install -modfile=tools.mod google.golang.org/protobuf/cmd/protoc-gen-go \
		github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto \
		google.golang.org/grpc/cmd/protoc-gen-go-grpc github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway
	PATH="$(abspath $(BUILD)/bin):$$PATH" protoc -I core/command/commandpb \
		--go_out=. --go_opt=module=github.com/triglot/triglot \
		--go-vtproto_out=. --go-vtproto_opt=module=github.com/triglot/triglot,features=marshal+unmarshal+unmarshal_unsafe+size \
		core/command/commandpb/command.proto
	$(GO) run ./frontends/etcdv3/protodeps > $(BUILD)/deps.pb
	PATH="$(abspath $(BUILD)/bin):$$PATH" protoc -I frontends/etcdv3 --descriptor_set_in=$(BUILD)/deps.pb \
		--go_out=. --go_opt=module=github.com/triglot/triglot \
		--go-grpc_out=. --go-grpc_opt=module=github.com/triglot/triglot \
		--grpc-gateway_out=. --grpc-gateway_opt=module=github.com/triglot/triglot \
		v3lockpb/v3lock.proto v3electionpb/v3election.proto

.PHONY: golden
golden: need-go ## rewrite the transcripts; commit only differences that you understand
	$(GO) test ./core/... ./storage/... -rewrite

.PHONY: clean
clean: ## remove what was built; the data stays
	rm -rf $(BUILD)

# What the targets need, each with the package that brings it.

.PHONY: need-all need-go need-java need-python need-c-client need-node
need-all: need-go need-java need-python need-c-client

need-go:
	@command -v $(GO) >/dev/null || { echo "Go is missing: install Go 1.26 or later; Debian 12's own golang-go is too old"; exit 1; }
	@mkdir -p $(BUILD)

need-java:
	@command -v javac >/dev/null || { echo "a JDK is missing: apt-get install default-jdk-headless"; exit 1; }
	@command -v mvn >/dev/null || { echo "Maven is missing: apt-get install maven"; exit 1; }

need-python:
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { echo "Python with venv is missing: apt-get install python3-venv"; exit 1; }

need-c-client:
	@test -x /usr/lib/zookeeper/bin/cli_mt || { echo "ZooKeeper's C client is missing: apt-get install zookeeper-bin"; exit 1; }

need-node:
	@command -v npm >/dev/null || { echo "Node is missing, which test-all needs: apt-get install nodejs npm"; exit 1; }
