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
