# The commands of this project. `make run` and `make build` need only Go.

PORT ?= 8080
FUZZTIME ?= 30s
DURATION ?= 10m
PROTOCOL ?= http
BROWSER ?= chromium
BROWSERS ?= chromium
SEEDS ?= 20000
SEED ?= 0
TOOLCHAINS ?= go1.26.11,go1.27.4
SERVER := server/cmd/eventsource-server

export PATH := $(CURDIR)/dist/tools/node_modules/.bin:$(PATH)

.PHONY: run run-cluster test test-fast matrix toolchains forget demo build client dist release bench bench-server docs soak conformance conformance-node scoreboard fuzz simulate screenshot lint unit e2e chromium proxies node

run: build docs demo ## serves the demo at http://localhost:8080, or at PORT=
	@PORT=$(PORT) dist/tools/demo

run-cluster: build demo ## serves the cluster demo, one stream over three nodes and NATS, at http://localhost:8080, or at PORT=
	@PORT=$(PORT) dist/tools/demo -cluster

demo:
	@.ci/progress "Compiling the demo server (a minute the first time)" go build -o dist/tools/demo ./server/cmd/demo

build: ## makes dist/, the npm package; DEBUG=1 keeps the names of functions in panics
	@.ci/progress "Compiling the command that builds dist/ (a minute the first time)" go build -o dist/tools/build ./js/build
	@.ci/progress "Building dist/" dist/tools/build

client: build ## copies the compressed client to where go build -tags embedclient finds it, for the server's flag -demo
	@rm -rf $(SERVER)/client && mkdir $(SERVER)/client
	@for file in js mjs worker.js wasm; do cp dist/eventsource.$$file.br dist/eventsource.$$file.gz $(SERVER)/client/; done

dist: client ## makes dist/release/: the npm tarball, the server's binaries for Linux, and their SHA256SUMS
	@rm -rf dist/release
	@go run ./js/pack
	@set -e; version=$$(.ci/version); for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -tags embedclient -trimpath -ldflags="-s -w -X main.stamped=$$version" \
			-o dist/release/eventsource-server-linux-$$arch ./$(SERVER); \
		echo dist/release/eventsource-server-linux-$$arch; \
	done
	@cd dist/release && { sha256sum * || shasum -a 256 *; } >.sums 2>/dev/null && mv .sums SHA256SUMS

release: ## prepares VERSION=1.2.3: sets the version, dates the entries in CHANGELOG.md, commits and tags; pushes nothing
	@.ci/release "$(VERSION)"

test: forget lint unit e2e ## all tests that a contribution must pass; INSTALL=no installs nothing
	@.ci/skipped

test-fast: lint ## lint and unit tests, under a minute once they are compiled
	@.ci/progress "Unit tests" go test -short ./internal/... ./sse ./wasm/... ./server/... ./js/...

forget:
	@rm -f dist/.skipped

lint: node
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w is needed for: $$unformatted"; exit 1; }
	go mod tidy -diff
	go vet ./...
	cd server/bench && go vet -mod=mod ./...
	cd server/middleware && go vet -mod=mod ./...
	cd docs/site && go vet ./...
	cd e2e/node/goclients && go vet -mod=mod ./...
	GOOS=js GOARCH=wasm go vet ./sse ./wasm/...
	.ci/typescript
	go tool staticcheck ./...
	cd server/bench && $$(cd ../.. && go tool -n staticcheck) ./...
	cd server/middleware && $$(cd ../.. && go tool -n staticcheck) ./...
	cd docs/site && $$(cd ../.. && go tool -n staticcheck) ./...
	cd e2e/node/goclients && $$(cd ../../.. && go tool -n staticcheck) ./...
	GOOS=js GOARCH=wasm $$(go tool -n staticcheck) -checks inherit,-U1000 ./sse ./wasm/... # it would report exports as unused
	.ci/words

unit: proxies node
	.ci/progress "Unit tests" go test -race -timeout 60m ./internal/... ./sse ./wasm/... ./server/... ./js/...
	.ci/progress "The simulation, at full length" go test ./server/internal/epoll $(if $(CI),-mutations)
	$(if $(CI),.ci/progress "Mutations of shared streams" go test ./js -run MutationsOfSharedStreams -mutations)
	cd server/bench && ../../.ci/progress "The benchmarks' tests" go test -race -timeout 60m -mod=mod ./... # a separate module, without the peers in ours
	cd docs/site && ../../.ci/progress "The documentation's links" go test -count=1 ./...
	cd server/middleware && ../../.ci/progress "The middlewares' tests" go test -race -timeout 60m -mod=mod ./... # likewise

e2e: build chromium node
	@! .ci/chromium find || .ci/progress "Browser tests" go test -count=1 -timeout 60m -p 3 ./e2e/...

matrix: build chromium node ## tests the package in every bundler, framework and runtime, and writes the table in docs/bundlers.md; MATRIX= is a pattern that selects tests
	go test -count=1 -timeout 0 -v ./e2e/matrix -all $(if $(MATRIX),-run '/$(MATRIX)',-table ../../docs/bundlers.md)

toolchains: node ## builds the module with each Go version in TOOLCHAINS=; Go downloads them
	go test -count=1 -timeout 30m -v -run '^TestToolchains$$' ./js/build -toolchains $(TOOLCHAINS)

chromium:
	@.ci/chromium

proxies:
	@.ci/proxies

node:
	@.ci/node

bench: build chromium node ## measures the cost of an event in a page with native, ours and other libraries: dist/bench.json and .svg; then the parser, the encoder and the server
	go run ./e2e/bench $(BENCHFLAGS)
	go test -run '^$$' -bench . ./sse ./server

bench-server: ## compares our server with its peers, each in its own process: dist/bench-server.json; PROTOCOL=tls or h2 instead of http; FAULTS=1 for behavior under faults, STALLED=1 for the cost of stalled clients, STORES=1 for our stores
	@mkdir -p dist
	@cd server/bench && go run -mod=mod . $(if $(FAULTS),-faults -out $(CURDIR)/dist/faults-server.json,$(if $(STORES),-stores -out $(CURDIR)/dist/stores-server.json,$(if $(STALLED),-stalled -out $(CURDIR)/dist/stalled-server.json,-protocol $(PROTOCOL) -out $(CURDIR)/dist/bench-server$(patsubst %,-%,$(filter-out http,$(PROTOCOL))).json))) $(BENCHFLAGS)

docs: ## renders README.md and docs/ to dist/docs, which the demo serves at /docs/
	@cd docs/site && ../../.ci/progress "Rendering the documentation" go run .

soak: ## tests the server with chaos on real sockets, for DURATION=; SOAKFLAGS= has further flags, such as '-clients 2000 -seed 1'
	go run ./server/soak -duration $(DURATION) $(SOAKFLAGS)

conformance: build ## runs every scenario on native and on ours, in BROWSER=chromium, firefox or webkit; IMPL=native, wasm, or the URL or file of a script: dist/conformance.html and .json
	@test "$(BROWSER)" != chromium || CI=true .ci/chromium
	go run ./e2e/conformance -browser "$(BROWSER)" -impl "$(IMPL)"

conformance-node: build node ## runs the scenarios that need no page in Node, Deno and Bun, and on Go clients: a table, and dist/node.json; OF= selects implementations
	go run ./e2e/node $(if $(OF),-of $(OF))

scoreboard: build chromium node ## runs the suite on many implementations, and updates the table in docs/conformance.md: dist/scoreboard.html and .json, a page and a badge for each; IMPL= is the URL or file of a script to compare with native instead; BROWSERS=chromium,firefox,webkit
	go run ./e2e/scoreboard -browsers "$(BROWSERS)" $(if $(IMPL),-impl "$(IMPL)",$(if $(SCOREBOARDFLAGS),,-table docs/conformance.md)) $(if $(wildcard dist/node.json),-join dist/node.json) $(SCOREBOARDFLAGS)

simulate: ## simulates the server's streams with simulated sockets and a simulated clock: SEEDS= runs, from SEED= on; then mutations of the code, which it must detect
	go test -count=1 -timeout 0 ./server/internal/epoll -run '^TestSimulation$$' -seeds $(SEEDS) -seed $(SEED)
	@test "$(SEEDS)" = 1 || go test -count=1 -timeout 0 ./server/internal/epoll -run '^TestMutations$$' -mutations

fuzz: build chromium ## runs each fuzzer for FUZZTIME; the last one compares random streams on native and on ours
	go test ./sse -run '^$$' -fuzz FuzzParser -fuzztime $(FUZZTIME)
	go test ./sse -run '^$$' -fuzz FuzzRoundTrip -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzPublishRequest -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzSubscribeRequest -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzTicketRequest -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzJSON -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzForm -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzLines -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz '^FuzzTicket$$' -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzParseTicket -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzMatchOrigin -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzValidateOrigin -fuzztime $(FUZZTIME)
	go test ./server -run '^$$' -fuzz FuzzClientIP -fuzztime $(FUZZTIME)
	go test ./server/jwt -run '^$$' -fuzz FuzzAuthorize -fuzztime $(FUZZTIME)
	go test ./server/jwt -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME)
	go test -count=1 -timeout 0 ./js -length 6 -sequences 1000000 -seeds 10000 -seed $$(date +%s)
	go test -count=1 -timeout 0 ./e2e -run '^TestHandOvers$$' -handovers 10000 -streamseed $$(date +%s)000
	go test -count=1 -timeout 0 -v ./e2e -run '^TestStreams$$' -streamtime $(FUZZTIME) -streamseed $$(date +%s)000

screenshot: build chromium ## takes the screenshot of the demo for the README
	go test -count=1 ./e2e -run TestDemo -screenshot $(CURDIR)/e2e/demo.png
