# The read side stands alone: auditd and the offline verifier of the CLI both link it.
SRC_auditlog := auditd/format.c auditd/leaf.c auditd/tile.c auditd/tree.c auditd/segment.c auditd/view.c auditd/verify.c \
	auditd/strays.c auditd/proof.c auditd/entries.c auditd/prefix.c
SRC_auditlog += auditd/receipt.c auditd/retained.c
$(eval $(call library,auditlog,$(SRC_auditlog)))

SRC_auditd := auditd/ledger.c auditd/recover.c auditd/writer.c auditd/producers.c \
	auditd/checkpoint.c auditd/reader.c auditd/readonly.c
SRC_auditd += auditd/finder.c auditd/receipts.c auditd/retention.c auditd/prune.c auditd/pruner.c auditd/pruner_status.c
$(eval $(call library,auditd,$(SRC_auditd)))
$(eval $(call program,auditd,auditd/main.c,auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call library,testlog,tests/support/test_log.c tests/support/test_prune.c))
$(eval $(call unit,auditd/leaf,auditlog common proto,libsodium nettle msgpack))
$(eval $(call unit,auditd/receipt,testlog auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call unit,auditd/finder,testlog auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call unit,auditd/prefix,testlog auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call unit,auditd/retained,testlog auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call unit,auditd/retention,auditd,))
$(eval $(call unit,auditd/ledger,testlog auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call unit,auditd/rebuild,testlog auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call unit,auditd/verify,testlog auditd auditlog common proto,libuv libsodium nettle msgpack))
PKG_LIBS_gate_openat := -Wl,--wrap=openat
$(eval $(call unit,auditd/verify_copy,testlog auditd auditlog common proto,libuv libsodium nettle msgpack gate_openat))
$(eval $(call unit,auditd/entries,testlog auditd auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call fuzz,segment_recovery,auditlog common proto,libsodium nettle msgpack))
# The system calls that these tests make fail.
PKG_LIBS_faults := $(foreach c,fsync fdatasync syncfs fstat fstatat renameat mkdirat unlinkat ftruncate fallocate openat pwrite readdir,-Wl,--wrap=$(c))
$(eval $(call library,power,tests/support/power.c))
$(eval $(call library,faults,tests/support/faults.c))
$(eval $(call unit,auditd/prune,testlog faults power auditd auditlog common proto,libuv libsodium nettle msgpack faults))
$(eval $(call unit,auditd/fault,testlog faults power auditd auditlog common proto,libuv libsodium nettle msgpack faults))
PKG_LIBS_gate_segments := -Wl,--wrap=fallocate -Wl,--wrap=syncfs
PKG_LIBS_gate_pread := -Wl,--wrap=pread
$(eval $(call unit,auditd/view,testlog auditd auditlog common proto,libuv libsodium nettle msgpack gate_pread))
PKG_LIBS_gate_renameat := -Wl,--wrap=renameat
$(eval $(call unit,auditd/checkpoint,testlog auditd auditlog common proto,libuv libsodium nettle msgpack gate_renameat))
$(eval $(call unit,auditd/writer,testlog auditd auditlog common proto,libuv libsodium nettle msgpack gate_segments))
$(eval $(call fuzz,prefix,auditlog common proto,libsodium nettle msgpack))
$(eval $(call fuzz,bundle,auditlog common proto,libsodium nettle msgpack))
$(eval $(call fuzz,log_proof,auditlog common proto,libsodium nettle msgpack))
$(eval $(call fuzz,receipt,auditlog common proto,libsodium nettle msgpack))

# What needs no database: rows, their tables, and the log's folder as its reader sees it. The CLI prints the tables.
$(eval $(call library,mirror,$(addprefix auditd/shipper/,row.c schema.c folder.c batch.c cosign.c pg_error.c)))
$(eval $(call library,shipper,$(addprefix auditd/shipper/,pg.c mirror.c http.c witness.c check.c)))
$(eval $(call program,audit-shipper,auditd/shipper/main.c,shipper mirror auditlog dialer common proto,libuv libsodium nettle msgpack libpq curl openssl cares))
$(eval $(call unit,auditd/shipper/row,mirror auditlog common proto,libsodium nettle msgpack))
$(eval $(call unit,auditd/shipper/folder,testlog auditd mirror auditlog common proto,libuv libsodium nettle msgpack))
$(eval $(call unit,auditd/shipper/cosign,mirror auditlog common proto,libsodium nettle msgpack))
