# `make micro` times the pieces, `make bench` (mk/targets.mk) the whole. Not installed, so not a `program`.
SOURCES += bench/micro.c bench/micro_rotation.c
DEPFILES += $(O)/bench/micro.d $(O)/bench/micro_rotation.d
MICRO_OBJS := $(call objs,bench/micro.c bench/micro_rotation.c router/http_head.c)
$(O)/bench/micro: $(MICRO_OBJS) $(call libs,rows keyvault egress authd classifier common proto) $(LLHTTP_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(MICRO_OBJS) -Wl,--start-group $(call libs,rows keyvault egress authd classifier common proto) -Wl,--end-group \
		$(call pkgs,libsodium nettle msgpack hs llhttp sqlite3) -o $@

.PHONY: micro
micro: $(O)/bench/micro ## time single pieces of the hot path
	$(O)/bench/micro

.PHONY: bench-audit
bench-audit: all units ## events a second that the log makes durable, from four producers, and how long an acknowledgement takes
	bench/audit

# `make bench-vault`: the vault's hop beside a process that has TLS of its own.
SOURCES += bench/hop.c
DEPFILES += $(O)/bench/hop.d
$(O)/bench/hop: $(call objs,bench/hop.c) $(call libs,common proto)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(call objs,bench/hop.c) -Wl,--start-group $(call libs,common proto) -Wl,--end-group \
		$(call pkgs,openssl libsodium nettle msgpack) -o $@

.PHONY: bench-vault
bench-vault: $(O)/bench/hop $(O)/bench/micro ## the vault's hop beside TLS without it; scrubber and rotation by the piece
	$(AGAIN) all
	bench/vault
	$(O)/bench/micro | grep -E '^(grant|scrub|rotation)'
