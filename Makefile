# make          prints what there is
# make run      builds and starts everything with a demo
# make test     is what CI runs

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := bin/patchbay
GOLANGCI := bin/tools/golangci-lint
SHELL_SCRIPTS := .ci/run $(wildcard scripts/*)
NPM_LOCKS := $(wildcard test/*/package-lock.json examples/package-lock.json examples/*/package-lock.json)
NPM_INSTALLED := $(NPM_LOCKS:%package-lock.json=%node_modules/.package-lock.json)

STEP := @scripts/step
# What is tested is what is shipped.
BLACKBOX_ENV = PATCHBAY_BIN="$(CURDIR)/$(BIN)"

.PHONY: help
help: ## print this help
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build and start everything with a demo, data in ./data (ARGS="--port 4000" adds flags)
	$(BIN) dev $(ARGS)

.PHONY: build
build: ## build bin/patchbay
	$(STEP) "build $(BIN)" env CGO_ENABLED=0 go build -trimpath -o $(BIN) ./cmd/patchbay

.PHONY: test
test: ## everything CI checks; installs what it needs (as root on Debian)
	@$(MAKE) --no-print-directory dev-deps
	@$(MAKE) --no-print-directory verify
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-unit
	@$(MAKE) --no-print-directory test-compat
	@echo "==> all passed"

.PHONY: test-unit
test-unit: ## tests of all packages, on SQLite and a throw-away PostgreSQL (T=./internal/x/... picks some)
	$(STEP) "unit tests, on SQLite and PostgreSQL" scripts/with-postgres scripts/unit-test -timeout 15m $(T)

.PHONY: test-race
test-race: ## the unit tests under the race detector; needs a C compiler
	$(STEP) "unit tests under the race detector" env CGO_ENABLED=1 scripts/with-postgres scripts/unit-test -race -timeout 30m $(T)

.PHONY: test-compat
test-compat: build $(NPM_INSTALLED) ## black-box tests of bin/patchbay: unmodified npm clients, crashes
	$(STEP) "black-box tests of $(BIN)" env $(BLACKBOX_ENV) scripts/with-postgres go test -count=1 -timeout 20m ./test/...

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint and shellcheck
	$(STEP) "golangci-lint" $(GOLANGCI) run ./...
	@scripts/need shellcheck shellcheck
	$(STEP) "shellcheck" shellcheck $(SHELL_SCRIPTS)

.PHONY: fmt
fmt: $(GOLANGCI) ## format Go code and group imports
	$(GOLANGCI) fmt ./...

.PHONY: bench
bench: build ## measure the binary, CPU per operation, and write docs/performance.md
	$(STEP) "benchmarks of $(BIN)" env $(BLACKBOX_ENV) go run ./test/bench -write docs/performance.md

.PHONY: generate
generate: ## regenerate every generated file
	$(STEP) "go generate" go generate ./...

.PHONY: verify
verify: ## fail if go generate or gofmt would change a file
	$(STEP) "verify generated files and gofmt" scripts/verify

.PHONY: dev-deps
dev-deps: $(GOLANGCI) $(NPM_INSTALLED) ## install what the tests and linters need
	@scripts/need initdb postgresql
	@scripts/need shellcheck shellcheck

.PHONY: clean
clean: ## remove what was built and installed; ./data stays, it is yours
	rm -rf bin dist coverage.out $(NPM_LOCKS:%package-lock.json=%node_modules)

# The linter is pinned in a module of its own, so that its dependencies are not the product's.
$(GOLANGCI): tools/go.mod tools/go.sum
	$(STEP) "build the linter (once, minutes on a cold cache)" env GOBIN="$(CURDIR)/bin/tools" go -C tools install tool
	@touch $@

%/node_modules/.package-lock.json: %/package-lock.json
	$(STEP) "npm ci in $*" npm ci --prefix $* --no-audit --no-fund
	@touch $@
