SRC_common := common/sha256.c common/head_digest.c common/hmac.c common/base64.c
SRC_common += common/err.c common/buf.c common/crc32c.c common/grant.c common/binding_auth.c common/json_value.c common/json_scan.c common/json_member.c common/secret.c
SRC_common += common/sandbox.c common/sandbox_table.c common/seccomp_bpf.c common/landlock.c
SRC_common += common/address.c common/config.c common/config_rows.c common/config_url.c common/config_model.c common/price.c
SRC_common += common/log.c common/edges.c common/tally.c common/daemon.c
SRC_common += common/ipc_buf.c common/ipc_conn.c common/ipc_call.c common/ipc_clock.c common/ipc_edge.c common/ipc_admin.c
SRC_common += common/merkle.c common/note.c common/utf8.c common/tlog_policy.c common/audit_ring.c common/audit_client.c
$(eval $(call library,common,$(SRC_common)))
$(eval $(call library,vectors,tests/support/vectors.c tests/support/vectors_json.c))
$(eval $(call unit,common/crc32c,common))
$(eval $(call unit,common/address,common proto))
$(eval $(call unit,common/price,common))
$(eval $(call unit,common/config,common proto,msgpack))
$(eval $(call unit,common/grant,common proto,libsodium nettle msgpack))
$(eval $(call unit,common/binding_auth,common proto))
$(eval $(call fuzz,grant,common proto,libsodium nettle msgpack))
$(eval $(call unit,common/seccomp_bpf,common proto))
$(eval $(call unit,common/sandbox,common proto))
$(eval $(call unit,common/json_scan,common,))
$(eval $(call fuzz,json_scan,common,jansson))
$(eval $(call unit,common/secret,common))
$(eval $(call unit,common/secret_inline,common))
$(eval $(call unit,common/secret_pkey,common))
$(eval $(call library,ipc_place,tests/support/ipc_place.c))
$(eval $(call unit,common/ipc,ipc_place common proto,libuv msgpack libsodium))
$(eval $(call unit,common/ipc_fd,ipc_place common proto,libuv msgpack libsodium))
$(eval $(call unit,common/sha256,common,nettle libsodium))
$(eval $(call unit,common/head_digest,common,nettle))
$(eval $(call unit,common/base64,common,libsodium))
$(eval $(call unit,common/hmac,common,nettle libsodium))
$(eval $(call unit,common/merkle,vectors common,libsodium nettle jansson))
$(eval $(call unit,common/note,vectors common,libsodium nettle jansson))
$(eval $(call unit,common/tlog_policy,common,libsodium nettle))
$(eval $(call fuzz,note,common,libsodium nettle))
$(eval $(call fuzz,tlog_policy,common,libsodium nettle))
$(eval $(call unit,common/audit_ring,common proto,msgpack))
$(eval $(call unit,common/tally,common))
