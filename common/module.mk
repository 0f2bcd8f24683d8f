SRC_common := common/err.c common/buf.c
$(eval $(call library,common,$(SRC_common)))
