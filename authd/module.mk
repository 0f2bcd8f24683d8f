SRC_authd := authd/token.c authd/ratelimit.c authd/store_sqlite.c authd/store_sqlite_credentials.c authd/store_sqlite_subjects.c authd/cache.c authd/credentials.c authd/models.c authd/grants.c authd/authorize.c \
	authd/dispatch.c authd/admin.c authd/admin_credentials.c authd/resealed.c authd/receipts.c \
	authd/fields.c authd/subjects.c authd/admin_subjects.c authd/expiry.c
$(eval $(call library,authd,$(SRC_authd)))
$(eval $(call program,authd,authd/main.c,authd common proto,libuv libsodium nettle msgpack sqlite3))
$(eval $(call unit,authd/token,vectors authd common,libsodium nettle jansson))
$(eval $(call unit,authd/ratelimit,authd,))
$(eval $(call library,store_fixture,tests/support/store_fixture.c))
$(eval $(call unit,authd/store_sqlite_credentials,store_fixture authd common proto,libsodium sqlite3 msgpack))
$(eval $(call unit,authd/store,store_fixture authd common proto,libsodium sqlite3 msgpack))
$(eval $(call unit,authd/resealed,store_fixture authd common proto,libuv libsodium nettle sqlite3 msgpack))
$(eval $(call unit,authd/fields,authd common proto,libsodium))
$(eval $(call unit,authd/subjects,store_fixture authd common proto,libsodium sqlite3 msgpack))
$(eval $(call unit,authd/cache,authd,libsodium))
$(eval $(call unit,authd/models,authd common proto,libsodium sqlite3 msgpack))
$(eval $(call unit,authd/grants,authd common proto,libsodium nettle msgpack))
$(eval $(call unit,authd/authorize,authd common proto,libsodium nettle msgpack))
$(eval $(call fuzz,token,authd common,libsodium nettle))
