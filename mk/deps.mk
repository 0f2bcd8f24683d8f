# Packages: mk/deps.txt lists them, mk/deps installs what is missing. What depends on them is made by a second make, since
# this one looked for libraries before they were there.
.PHONY: deps clients-deps

deps: ## install what is missing (Debian, Ubuntu); asks nothing
	$(Q)mk/deps

# The npm clients of tests/clients, by name and version, nothing else.
clients-deps: tests/clients/node_modules/.made
tests/clients/node_modules/.made: tests/clients/package.json
	$(Q)cd tests/clients && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@
