# The read side stands alone: auditd and the offline verifier of the CLI both link it.
SRC_auditlog := auditd/crc32c.c auditd/format.c auditd/leaf.c auditd/tile.c
$(eval $(call library,auditlog,$(SRC_auditlog)))

SRC_auditd := auditd/tree.c auditd/segment.c auditd/ledger.c auditd/recover.c
$(eval $(call library,auditd,$(SRC_auditd)))
