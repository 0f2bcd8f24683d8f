# Bulkhead. `make help` lists the targets; HACKING.md says how the tree is laid out.
#
# Non-recursive: every folder has a module.mk that names its sources and its programs. Each variant is built into a tree
# of its own, build/<variant>: release (default), asan, tsan, cov, fuzz.
BUILD ?= release
O     := build/$(BUILD)

all:

include mk/flags.mk
include mk/packages.mk
include mk/rules.mk
include $(wildcard proto/module.mk common/module.mk router/module.mk authd/module.mk keyvault/module.mk \
	auditd/module.mk classifier/module.mk cli/module.mk tests/module.mk bench/module.mk)
include mk/deps.mk mk/targets.mk

-include $(DEPFILES)
