# Egress and dialer: their own programs, libraries and packages; the core shares nothing with them but common/ and proto/.
EGRESS_SRC := $(addprefix keyvault/egress/,scrub.c)
$(eval $(call library,egress,$(EGRESS_SRC)))
$(eval $(call unit,keyvault/egress/scrub,egress common))
$(eval $(call fuzz,scrub,egress common))
