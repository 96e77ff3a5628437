# ggtune: every target below uses the same compiler flags, so that ggml and llama.cpp are compiled once (about four
# minutes on two cores) and come from Go's build cache afterwards.

GO ?= go
CC := $(shell $(GO) env CC)

# ggml fixes its instruction set when it is compiled. The module that carries it leaves ggml's AMX files out, so AMX must
# be off where the compiler knows of it; Apple's clang spells "this machine" -mcpu.
ifeq ($(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH),darwin/arm64)
NATIVE := -O3 -mcpu=native
else
NATIVE := -O3 -march=native
endif
ifeq ($(shell $(GO) env GOARCH),amd64)
NO_AMX := -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
NATIVE += $(shell $(CC) $(NO_AMX) -E -x c /dev/null >/dev/null 2>&1 && echo $(NO_AMX))
endif
# Without this ggml leaves out the kernels for repacked weights, and llama.cpp reads K types at half its speed.
NATIVE := $(strip $(NATIVE) -DGGML_USE_CPU_REPACK)

export CGO_ENABLED := 1
export CGO_CFLAGS ?= $(NATIVE)
export CGO_CXXFLAGS ?= $(NATIVE)

# The second supplier of llama.cpp (third_party/ggml): SYSTEM_LLAMA=1 takes the one that pkg-config knows, and
# LLAMA_CPP_PREFIX=DIR one that was installed under DIR. The path in the binary serves libraries that need each other too.
ifneq ($(LLAMA_CPP_PREFIX),)
SYSTEM_LLAMA := 1
export PKG_CONFIG_PATH := $(LLAMA_CPP_PREFIX)/lib/pkgconfig:$(LLAMA_CPP_PREFIX)/lib64/pkgconfig:$(PKG_CONFIG_PATH)
endif
ifneq ($(SYSTEM_LLAMA),)
# make before 4.4 hands no exported variable to $(shell)
LLAMA_LIBDIR := $(shell PKG_CONFIG_PATH='$(PKG_CONFIG_PATH)' pkg-config --variable=libdir llama)
ifeq ($(LLAMA_LIBDIR),)
$(error pkg-config finds no llama.cpp: install one with its llama.pc, or name its place with LLAMA_CPP_PREFIX)
endif
ifeq ($(shell $(GO) env GOOS),darwin)
LLAMA_RPATH := -Wl,-rpath,$(LLAMA_LIBDIR)
else
LLAMA_RPATH := -Wl,--disable-new-dtags,-rpath,$(LLAMA_LIBDIR)
endif
export GOFLAGS := $(GOFLAGS) -tags=system_llama -ldflags=-extldflags=$(LLAMA_RPATH)
endif

.PHONY: build test test-system check test-c race demo demo-model fuzz licenses clean

build: ## the command, ./ggtune
	$(GO) build -o ggtune ./cmd/ggtune

test: ## every test
	$(GO) test ./...

# What of the tests meets llama.cpp most: its interface, the logits and gradients of every architecture, the commands.
test-system: ## the short test of an installed llama.cpp (SYSTEM_LLAMA=1 or LLAMA_CPP_PREFIX=DIR)
	@if [ -z "$(SYSTEM_LLAMA)" ]; then echo "make test-system wants SYSTEM_LLAMA=1 or LLAMA_CPP_PREFIX=DIR" >&2; exit 1; fi
	$(GO) test ./bindings/ggml ./bindings/llama ./engine/arch ./finetune/generate
	$(GO) test ./cmd/ggtune -run 'TestScript/(usage|train|generate)$$'

# The import rules and those of lines (at most 120 columns: characters, of which a tab counts 4) run without the test cache:
# the cache does not see which packages exist.
check: ## format, vet, staticcheck, import and line rules, licences, races
	@files=$$(git ls-files '*.go') && files=$$(gofmt -l $$files </dev/null) || exit 1; if [ -n "$$files" ]; then echo "gofmt needed (gofmt -w):" $$files >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -count=1 ./internal/deptest/...
	$(GO) run ./scripts/licenses -check
	$(MAKE) --no-print-directory race

# The race detector, for the packages whose tests reach no cgo of ours or of a dependency (with it, ggml would be compiled
# once more). The list is computed from the test binaries' own dependencies.
race:
	@cgo=$$($(GO) list -deps -test -f '{{if and (not .Standard) .CgoFiles}}{{.ImportPath}}{{end}}' ./... | cut -d' ' -f1 | sort -u) && \
	pkgs=$$($(GO) list -test -f '{{if eq .Name "main"}}{{.ImportPath}} {{join .Deps " "}}{{end}}' ./... | \
	  CGO_PKGS="$$cgo" awk 'BEGIN { split(ENVIRON["CGO_PKGS"], c, "\n"); for (i in c) bad[c[i]] = 1 } \
	    $$1 ~ /\.test$$/ { ok = 1; for (i = 2; i <= NF; i++) if ($$i in bad) ok = 0; if (ok) { sub(/\.test$$/, "", $$1); print $$1 } }') && \
	if [ -z "$$pkgs" ]; then echo "no package without cgo found: the rule above is broken" >&2; exit 1; fi && \
	echo "$(GO) test -race" $$pkgs && $(GO) test -race $$pkgs

# AddressSanitizer sees what Go's tests cannot: reads past C buffers and C memory that is never freed. cgocheck2 finds Go
# pointers kept in C memory. Each compiles ggml anew, with its own flags. The names by which leaks are known (bindings/asan.go)
# are in symbols that go test would leave out.
test-c: ## the C border under AddressSanitizer and cgocheck2
	$(GO) test -asan -timeout 40m '-ldflags=-s=false -w=false' ./bindings/...
	GOEXPERIMENT=cgocheck2 $(GO) test -timeout 40m ./bindings/...

demo: build ## fine-tune the small model inside the binary: about a minute
	rm -rf build/demo
	./ggtune demo -o build/demo

demo-model: build ## make the model inside the binary again, from nothing: 10 to 20 minutes
	scripts/make_demo.sh

FUZZTIME ?= 10s
fuzz: ## every fuzz target for FUZZTIME
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

licenses: ## write the licences of what is linked in again
	$(GO) run ./scripts/licenses

clean:
	rm -rf ggtune build
