# The targets a person types. `make help` prints the text behind each `##`.
.PHONY: all units fuzzers clean help
.DEFAULT_GOAL := all

all: $(PROGRAMS) ## build every program into build/<variant>
units: $(UNITS) ## build the unit tests
fuzzers: $(FUZZERS) ## build the fuzz harnesses (BUILD=fuzz)

clean: ## remove build/
	rm -rf build

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16
