# Programs that only the tests use; the fifth argument is for the linker.
define helper
SOURCES += $(2)
DEPFILES += $(patsubst %.c,$(O)/%.d,$(2))
HELPERS += $(O)/$(1)
$(O)/$(1): $(call objs,$(2)) $(call libs,$(3))
	$$(call say,LINK,$$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(call objs,$(2)) -Wl,--start-group $(call libs,$(3)) -Wl,--end-group $(call pkgs,$(4)) $(5) -o $$@
endef
$(eval $(call helper,canary,tests/privileges/canary.c,common proto))
$(eval $(call helper,audit_load,tests/support/audit_load.c tests/support/audit_launch.c,common proto,libsodium nettle msgpack))
$(eval $(call helper,make_log,tests/support/make_log.c,auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call helper,storm_upstream,tests/support/storm_upstream.c,,openssl))
$(eval $(call helper,storm_clients,tests/support/storm_clients.c,,))
$(eval $(call fuzz,destination,router authd egress common proto,libsodium nettle sqlite3 msgpack libuv openssl llhttp))
HANGING_WRAPS := -Wl,--wrap=classify -Wl,--wrap=setitimer
$(eval $(call helper,hanging_classifier,tests/support/hanging_classifier.c $(SRC_service),classifier common proto,libuv hs msgpack,$(HANGING_WRAPS)))
FAILING_WRAPS := $(foreach c,pwrite fsync fdatasync syncfs fallocate,-Wl,--wrap=$(c))
$(eval $(call helper,failing_auditd,tests/support/failing_disk.c auditd/main.c,auditd auditlog common proto,libuv libsodium nettle msgpack,$(FAILING_WRAPS)))
AGING_WRAPS := $(foreach c,clock_gettime unlinkat renameat fsync syncfs,-Wl,--wrap=$(c))
$(eval $(call helper,aging_auditd,tests/support/aging.c auditd/main.c,auditd auditlog common proto,libuv libsodium nettle msgpack,$(AGING_WRAPS)))
$(eval $(call helper,audit_producer,tests/support/audit_producer.c,auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call helper,fault_tracer,tests/support/fault_tracer.c,,))
$(eval $(call helper,older_kernel,tests/support/older_kernel.c,,))

.PHONY: audit-faults again-audit-faults
audit-faults: deps ## each single system call by which auditd writes, made to fail in each way: minutes
	$(AGAIN) -j2 all units
	$(AGAIN) again-audit-faults
again-audit-faults:
	FAULTS_ALL=1 $(O)/auditd/fault_test
	FAULTS_ALL=1 $(O)/auditd/prune_test
	FAULTS_STEP=1 LIVES=50 tests/run --build $(O) --pytest tests/integration/test_faults.py tests/integration/test_lives.py \
		tests/integration/test_retention.py
