SRC_authd := authd/token.c
$(eval $(call library,authd,$(SRC_authd)))
$(eval $(call unit,authd/token,authd,libsodium))
$(eval $(call fuzz,token,authd,libsodium))
