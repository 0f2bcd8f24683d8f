# The targets a person types. `make help` prints the text behind each `##`.
.PHONY: all audit-static demo run test check check-all residue bench fuzz-smoke coverage tidy format docs install clean help units fuzzers again-%
.DEFAULT_GOAL := all
PYTHON := /usr/bin/python3
PREFIX ?= /usr/local
SECONDS ?= 60

all: $(PROGRAMS) ## build every program into build/<variant>
	@:
audit-static: $(O)/bin/bulkhead-audit ## the auditor's program alone, statically linked
units: $(UNITS) $(HELPERS) $(HARNESS)
fuzzers: $(FUZZERS)

# After `deps` this make's idea of the libraries may be old: a second one does the work.
AGAIN := @+$(MAKE) --no-print-directory

# For who wants to see it run: how far it is, no list of files, and no end at what a compiler newer than ours warns of.
define BUILD_ALL
@+steps=$$($(MAKE) --no-print-directory -n V= STEPS=1 all | grep -c '^printf'); \
	test $$steps = 0 || echo "Building, $$steps steps; the first time that takes some minutes (V=1 shows each)"; \
	$(MAKE) --no-print-directory -j2 STEPS=$$steps WERROR= all && { test $$steps = 0 || echo; }
endef

demo: deps ## the whole gateway with a provider stand-in: a streamed chat, a key search, a proof; Ctrl-C ends it
	$(BUILD_ALL)
	@$(PYTHON) tests/support/demo.py

run: deps ## the gateway with ./bulkhead.yaml (made if absent), for a real provider
	$(BUILD_ALL)
	@test -e bulkhead.yaml || $(O)/bin/bulkhead config show --example >bulkhead.yaml
	@printf '%s\n' 'In another terminal, once (YOUR-KEY.txt holds the key of the provider named in bulkhead.yaml):' \
		'  $(O)/bin/bulkhead vault init' '  $(O)/bin/bulkhead vault add openai < YOUR-KEY.txt' \
		'  $(O)/bin/bulkhead key create --tenant me'
	@exec $(O)/bin/bulkhead up

test: deps ## everything: unit tests, architecture, captured daemons, real processes, real clients
	$(AGAIN) -j2 all units
	$(AGAIN) clients-deps
	$(AGAIN) again-test
again-test:
	@tests/run --build $(O) --unit $(UNITS) --pytest tests/arch tests/integration tests/privileges tests/clients

check: deps ## what can be said without starting anything: unit tests, layers, links, sizes, banned calls; under two minutes
	$(AGAIN) -j2 all units
	$(AGAIN) again-check
again-check:
	@tests/run --build $(O) --unit $(UNITS) --pytest tests/arch

residue: deps ## 100,000 requests to a provider that spreads the key; then every mapping, core dump and file is searched
	$(AGAIN) -j2 all units
	$(AGAIN) again-residue RESIDUE_REQUESTS=100000
again-residue:
	@tests/run --build $(O) --pytest tests/integration/test_residue.py

check-all: check residue ## check, residue, then unit and integration tests under the sanitizers, then the fuzzers
	$(AGAIN) BUILD=asan CC=clang -j2 all units
	$(AGAIN) BUILD=asan CC=clang again-sanitized
	$(AGAIN) BUILD=tsan CC=clang -j2 units
	$(AGAIN) BUILD=tsan CC=clang again-units
	$(AGAIN) fuzz-smoke
again-units:
	@tests/run --build $(O) --unit $(UNITS)
again-sanitized:
	@tests/run --build $(O) --unit $(UNITS) --pytest tests/integration

fuzz-smoke: deps ## every fuzz harness for SECONDS (60), two at a time, under ASan and UBSan
	$(AGAIN) BUILD=fuzz -j2 fuzzers
	$(AGAIN) BUILD=fuzz again-fuzz
again-fuzz:
	@tests/run --build $(O) --fuzz $(SECONDS) $(FUZZERS)

bench: deps ## wrk against the gateway and against nginx, side by side
	$(AGAIN) all
	bench/run

coverage: deps ## line coverage of the unit tests into build/coverage/, and the files with the least
	$(AGAIN) BUILD=cov -j2 all units
	$(AGAIN) BUILD=cov again-units
	$(AGAIN) BUILD=cov again-coverage
again-coverage:
	lcov -q --capture --initial --no-external -b . -d $(O) -o $(O)/none.info
	lcov -q --capture --no-external -b . -d $(O) -o $(O)/some.info
	lcov -q -a $(O)/none.info -a $(O)/some.info -o $(O)/all.info
	lcov -q --remove $(O)/all.info '*_test.c' '*/tests/*' -o $(O)/ours.info
	genhtml -q $(O)/ours.info -o build/coverage
	lcov --list $(O)/ours.info 2>/dev/null | awk -F'|' '/\.c / { split($$2, p, "%"); printf "%6.1f%% %s\n", p[1], $$1 }' | sort -n | head -40
	lcov --summary $(O)/ours.info

tidy: ## clang-tidy over every source, warnings as errors
	$(Q)clang-tidy --quiet $(SOURCES) -- -std=gnu17 -D_GNU_SOURCE -I. $(PKG_CFLAGS)

format: ## lay out all C code by .clang-format
	$(Q)clang-format -i $(shell find $(wildcard proto common router authd keyvault auditd classifier cli tests bench) -name '*.[ch]')

docs: all ## write the generated pages: PROTOCOL.md, REASONS.md, EVENTS.md, CONFIG.md, SANDBOX.md
	$(PYTHON) tests/arch/generated.py $(O) write

TO = $(DESTDIR)$(PREFIX)
install: all ## into DESTDIR and PREFIX (/usr/local); docs/service.md says what comes after it
	for folder in bin libexec/bulkhead share/doc/bulkhead/docs share/man/man1 share/bash-completion/completions lib/systemd/system; do \
		install -d "$(TO)/$$folder" || exit 1; done
	install -m 0755 $(filter-out %/docgen,$(PROGRAMS)) "$(TO)/libexec/bulkhead"
	for name in $(filter bulkhead bulkhead-audit,$(notdir $(PROGRAMS))); do \
		ln -sf "../libexec/bulkhead/$$name" "$(TO)/bin/$$name" || exit 1; done
	install -m 0644 $(wildcard *.md LICENSE) packaging/bulkhead.yaml "$(TO)/share/doc/bulkhead"
	install -m 0644 $(wildcard docs/*.md) "$(TO)/share/doc/bulkhead/docs"
	install -m 0644 docs/bulkhead.1 "$(TO)/share/man/man1"
	install -m 0644 packaging/bulkhead.bash "$(TO)/share/bash-completion/completions/bulkhead"
	sed 's#/usr/bin#$(PREFIX)/bin#' packaging/bulkhead.service | install -m 0644 /dev/stdin "$(TO)/lib/systemd/system/bulkhead.service"

clean: ## remove build/
	rm -rf build

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16
