# unwedge: see README.md. `make help` lists the targets.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BIN     := bin/unwedge
ARCHES  := x86_64 aarch64
AGENTS  := $(ARCHES:%=images/guestbin/bin/agent-%)
HELPERS := $(ARCHES:%=images/guestbin/bin/helper-%)
JOBS    ?= 2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The guest agent and the image helper are static and cross-compiled; the
# program carries them.
%-x86_64: GUEST = amd64
%-aarch64: GUEST = arm64
$(HELPERS): $(wildcard images/rootfs/helper/*.go) go.mod
	@CGO_ENABLED=0 GOOS=linux GOARCH=$(GUEST) $(GO) build -trimpath -ldflags='-s -w -buildid=' -o $@ ./images/rootfs/helper
$(AGENTS): $(wildcard images/agent/*.go images/agentproto/*.go scenarios/stage/*.go) go.mod
	@CGO_ENABLED=0 GOOS=linux GOARCH=$(GUEST) $(GO) build -trimpath -ldflags='-s -w -buildid=' -o $@ ./images/agent

.PHONY: build
build: $(AGENTS) $(HELPERS) ## Build bin/unwedge
	@$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN) .

.PHONY: setup
setup: build ## Install what is missing (root on Debian only; says what to do elsewhere)
	@ci/setup.sh $(BIN)

.PHONY: boot
boot: setup ## Boot the 8-cell matrix on a Debian kernel for each arch
	@$(BIN) matrix -j $(JOBS) $(KERNELS)

# The suites' own specs need a guest; what of them does not is tested with the rest.
UNITS = $$($(GO) list ./... | grep -v -e /suites/boot -e /suites/hang -e '/suites/kvm$$' -e /harness/internal/oracle/witness -e '/suites/bisect$$')

# Released kernels that some packages are tested on without booting them, or hardly.
ARCHIVE = deb:linux-image-cloud-amd64@bookworm deb:linux-image-cloud-arm64@bookworm

.PHONY: test
test: setup ## Run all tests: unit, then the suites on real guests
	@ci/compilers.sh qemu-utils dosfstools mtools git-email
	@ci/test.sh '$(MAKE)' vet unit archive outside guests short-score short-faults

.PHONY: vet
vet: $(AGENTS) $(HELPERS)
	$(GO) vet ./...

# The time-outs end what hangs: no test depends on how fast the machine is.
.PHONY: unit
unit: $(AGENTS) $(HELPERS) ## Run the tests that boot nothing
	$(GO) test -race -timeout 60m $(UNITS)

.PHONY: archive
archive: $(AGENTS) $(HELPERS) ## Run the tests on released kernels, and on what their sources have to judge by
	UNWEDGE_TEST_ARCHIVE='$(ARCHIVE)' $(GO) test -race -timeout 60m -run '^TestReal' ./images/... ./harness/internal/guestmem/user ./harness/report/formats

.PHONY: guests
guests: setup ## Run the suites on real guests
	@ci/compilers.sh libvirt-daemon-system libvirt-clients mmdebstrap
	$(GO) tool ginkgo -p --procs=$(JOBS) --no-color --keep-going --timeout=6h --label-filter='!nested || (short && x86_64)' \
		./suites/boot ./suites/hang ./harness/internal/oracle/witness ./suites/kvm

.PHONY: outside
outside: setup ## Run the suite of a module that imports this one
	cd suites/testdata/outside && $(GO) test -timeout 2h -v .

.PHONY: short-score
short-score: setup
	$(GO) run ./suites/seeded --short -j $(JOBS)

.PHONY: short-faults
short-faults: setup
	$(GO) run ./suites/faults --short -j $(JOBS)

.PHONY: test-bisect
test-bisect: setup ## Bisect real kernels: a source's commits, which are built, and released packages
	@ci/compilers.sh flex bison bc git xz-utils libelf-dev libssl-dev openssl clang lld llvm ccache dwarves
	$(GO) tool ginkgo -v --no-color --timeout=6h ./suites/bisect

.PHONY: test-kvm
test-kvm: setup ## Boot under a real KVM, in a host of each architecture that QEMU emulates with its virtualization
	@ci/compilers.sh mmdebstrap
	$(GO) tool ginkgo -v -p --procs=$(JOBS) --no-color --keep-going --timeout=6h ./suites/kvm

# The Debian releases whose QEMU is tested: 7.2, 10.0, and sid's.
QEMUS ?= bookworm trixie sid
.PHONY: test-qemu
test-qemu: setup ## Run the core of the hang suite on the QEMU of other Debian releases
	@ci/compilers.sh patchelf
	ci/qemus.sh $(GO) $(JOBS) $(QEMUS)

.PHONY: test-browser
test-browser: ## Open report pages in Chromium (Debian's; SCREENSHOTS=DIR keeps pictures)
	UNWEDGE_CHROMIUM="$${UNWEDGE_CHROMIUM:-$$(command -v chromium)}" UNWEDGE_SCREENSHOTS='$(abspath $(SCREENSHOTS))' \
		$(GO) test -v -count=1 -timeout 30m ./harness/report/page/browser ./harness/history/pages/browser

.PHONY: screenshots
screenshots: setup ## Make the README's pictures of real boots, with Chromium
	ci/screenshots.sh '$(abspath $(BIN))' "$${UNWEDGE_CHROMIUM:-chromium}"

.PHONY: bench
bench: setup ## Measure: boot overhead, time to diagnosis, warm start, parser
	@$(GO) test -run '^$$' -bench Parse -benchmem ./harness/internal/dump
	@$(GO) test -run '^$$' -bench Explain -benchmem ./harness/internal/diagnose
	@$(GO) run ./harness/internal/bench

.PHONY: score
score: setup ## Seed faults into kernels at random and count what is noticed, named and found
	@ci/compilers.sh
	@$(GO) run ./suites/seeded -j $(JOBS) $(SCORE)

.PHONY: faults
faults: setup ## Break unwedge, QEMU, disk, cache and guest at random, and count what is lost or left behind
	@$(GO) run ./suites/faults -j $(JOBS) $(FAULTS)

.PHONY: oracle
oracle: setup ## Hold what is read from guests' memory against drgn (UNWEDGE_DRGN: a Python that has it)
	$(GO) test -run Drgn -v -timeout 30m ./harness/internal/oracle

# The same commit gives the same bytes, whoever builds it and when.
DIST    := dist
EPOCH    = $(shell git log -1 --format=%ct)
.PHONY: dist
dist: $(AGENTS) $(HELPERS) ## Build what users install: binaries, .deb and .rpm for both architectures
	rm -rf $(DIST) && mkdir -p $(DIST)
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -buildvcs=false \
			-ldflags '-s -w -buildid= -X main.version=$(VERSION)' -o $(DIST)/unwedge-linux-$$arch . || exit; \
	done
	cd ci/dist && $(GO) run . -version '$(VERSION)' -epoch $(EPOCH) -dir '$(abspath $(DIST))'

.PHONY: test-dist
test-dist: setup ## Build the packages twice, compare them, install them in fresh Debian roots, boot there, run the CI templates
	@ci/compilers.sh mmdebstrap
	ci/dist-test.sh '$(MAKE)' '$(GO)' $(DIST) bookworm trixie

.PHONY: lint
lint: ## Run golangci-lint, where it is installed
	golangci-lint run ./...

.PHONY: clean
clean: ## Remove what was built here (caches and runs stay: see unwedge images prune)
	rm -rf bin $(AGENTS) $(HELPERS)
