# The core of the vault: no TLS, no network, no database.
SRC_keyvault := keyvault/keyring.c keyvault/root.c keyvault/seal.c keyvault/store.c keyvault/witness.c keyvault/signer.c \
	keyvault/lanes.c keyvault/files.c keyvault/vault.c keyvault/fernet.c keyvault/vault_fernet.c keyvault/tell.c \
	keyvault/dispatch.c keyvault/dispatch_fernet.c
SRC_keyvault += keyvault/bech32.c keyvault/shamir.c keyvault/share.c keyvault/age.c keyvault/age_armor.c keyvault/dispatch_backup.c keyvault/dispatch_source.c
$(eval $(call library,keyvault,$(SRC_keyvault)))
$(eval $(call program,keyvault,keyvault/main.c,keyvault common sha256_sodium proto,libuv libsodium msgpack nettle))
$(eval $(call unit,keyvault/seal,keyvault common proto,libsodium msgpack jansson))
$(eval $(call library,fernet_fixture,tests/support/fernet_fixture.c))
$(eval $(call unit,keyvault/fernet,fernet_fixture keyvault common,libsodium nettle))
$(eval $(call unit,keyvault/fernet_vectors,fernet_fixture keyvault common,libsodium nettle jansson))
$(eval $(call unit,keyvault/fernet_stack,fernet_fixture keyvault common,libsodium nettle))
$(eval $(call unit,keyvault/root,keyvault common,libsodium))
$(eval $(call unit,keyvault/signer,keyvault common sha256_sodium proto,libsodium msgpack))
$(eval $(call unit,keyvault/bech32,keyvault common,libsodium))
$(eval $(call unit,keyvault/share,keyvault common,libsodium))
$(eval $(call unit,keyvault/age,keyvault common,libsodium))
$(eval $(call unit,keyvault/files,keyvault common sha256_sodium proto,libsodium msgpack nettle))
$(eval $(call unit,keyvault/vault,keyvault common sha256_sodium proto,libsodium msgpack nettle))
# The secret arena, made to fail.
PKG_LIBS_full := -Wl,--wrap=secret_alloc
$(eval $(call unit,keyvault/full,keyvault common sha256_sodium proto,libsodium msgpack nettle full))
$(eval $(call library,core_world,tests/support/core_world.c))
$(eval $(call unit,keyvault/dispatch,core_world keyvault common sha256_sodium proto,libuv libsodium msgpack nettle))
# The system calls that this test watches.
PKG_LIBS_watched := $(foreach c,pwrite fsync fdatasync sendmsg,-Wl,--wrap=$(c))
$(eval $(call unit,keyvault/durable,core_world power keyvault common sha256_sodium proto,libuv libsodium msgpack nettle watched))
$(eval $(call unit,keyvault/dispatch_fernet,core_world keyvault common sha256_sodium proto,libuv libsodium msgpack nettle))
$(eval $(call fuzz,fernet,keyvault common,libsodium nettle))
$(eval $(call fuzz,age,keyvault common,libsodium))
$(eval $(call fuzz,sealed_credential,keyvault common sha256_sodium proto,libsodium msgpack))
# Egress and dialer: their own programs, libraries and packages; the core shares nothing with them but common/ and proto/.
EGRESS_SRC := $(addprefix keyvault/egress/,chars.c scrub.c scrub_forms.c replay.c head.c reply.c permit.c request.c spare.c tls.c pool.c credential.c \
	exchange.c send.c relay.c record.c serve.c)
$(eval $(call library,egress,$(EGRESS_SRC)))
$(eval $(call program,keyvault-egress,keyvault/egress/main.c,egress common sha256_nettle proto,libuv libsodium nettle msgpack openssl llhttp))
$(eval $(call unit,keyvault/egress/chars,egress))
$(eval $(call unit,keyvault/egress/scrub,egress common,full))
$(eval $(call unit,keyvault/egress/replay,egress common))
$(eval $(call unit,keyvault/egress/head,egress common proto,msgpack))
$(eval $(call unit,keyvault/egress/permit,egress common sha256_nettle proto,libsodium nettle msgpack))
$(eval $(call unit,keyvault/egress/reply,egress common proto,llhttp))
$(eval $(call fuzz,scrub,egress common))
$(eval $(call fuzz,reply,egress common proto,llhttp))
DIALER_SRC := $(addprefix keyvault/dialer/,registry.c policy.c message.c tcp.c resolve.c race.c dial.c)
$(eval $(call library,dialer,$(DIALER_SRC)))
$(eval $(call program,keyvault-dialer,keyvault/dialer/main.c,dialer common proto,libuv libsodium msgpack cares))
$(eval $(call unit,keyvault/dialer/registry,dialer common proto,msgpack))
$(eval $(call unit,keyvault/dialer/policy,dialer common proto,msgpack))
$(eval $(call unit,keyvault/dialer/message,dialer common proto,msgpack cares))
$(eval $(call unit,keyvault/dialer/race,dialer common proto,libuv msgpack))
$(eval $(call unit,keyvault/dialer/dial,dialer common proto,libuv msgpack cares))
$(eval $(call fuzz,dial_policy,dialer common proto,msgpack))
$(eval $(call fuzz,dns_answer,dialer common proto,cares))
