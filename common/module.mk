SRC_common := common/err.c common/buf.c common/grant.c common/json_value.c common/json_scan.c
$(eval $(call library,common,$(SRC_common)))
$(eval $(call unit,common/grant,common proto,libsodium msgpack))
$(eval $(call fuzz,grant,common proto,libsodium msgpack))
