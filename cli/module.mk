SRC_cli := cli/args.c cli/cli.c cli/program.c cli/commands.c cli/help.c cli/output.c cli/plain.c cli/admin.c cli/locked.c cli/rundir.c cli/listen.c
SRC_cli += cli/catalogue.c cli/config_tree.c cli/config_yaml.c cli/config_env.c cli/config_complete.c cli/config_nearest.c
SRC_cli += cli/config_show.c cli/config_print.c cli/config_auth.c cli/vault.c cli/credential.c cli/rotate.c cli/binding.c cli/secret_form.c cli/fernet.c cli/fernet_lines.c cli/key.c cli/status.c cli/metrics.c
SRC_cli += cli/up.c cli/launch_place.c cli/launch_listen.c cli/launch_tally.c cli/launch_config.c cli/launch_exec.c cli/launch_control.c cli/launch_watch.c
SRC_cli += cli/key_file.c cli/backup.c cli/restore.c cli/source.c cli/source_file.c cli/source_watch.c cli/launch_source.c cli/root_source.c cli/launch_key.c
SRC_cli += cli/audit_mirror.c cli/config_use.c cli/audit_tail.c cli/audit_online.c cli/audit_reader.c cli/audit_removed.c cli/audit_record.c cli/audit_filter.c cli/audit_search.c cli/audit_gaps.c
SRC_cli += cli/audit_csv.c cli/audit_export.c cli/audit_histogram.c cli/audit_stats.c cli/audit_progress.c cli/audit_verify.c cli/audit_proof.c cli/audit_consistency.c cli/audit_trust.c
SRC_cli += cli/receipt.c cli/receipt_get.c
SRC_cli += cli/audit_reveal.c cli/audit_erase.c cli/audit_retention.c
SRC_cli += cli/grants.c
$(eval $(call library,cli,$(SRC_cli)))
$(eval $(call program,bulkhead,cli/main.c,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle))
$(eval $(call static_program,bulkhead-audit,cli/auditor.c,cli auditlog common proto,libjansson.a libsodium.a libnettle.a $(ARCHIVE_msgpack) libc.a))
$(eval $(call unit,cli/config_tree,cli common proto,yaml msgpack libsodium nettle))
$(eval $(call unit,cli/config_auth,cli common proto,yaml msgpack libsodium nettle))
$(eval $(call unit,cli/args,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle))
$(eval $(call unit,cli/secret_form,cli common proto,))
$(eval $(call unit,cli/listen,cli common proto,))
$(eval $(call fuzz,config,cli common proto,yaml msgpack libsodium nettle))
$(eval $(call unit,cli/launch_control,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle))
$(eval $(call unit,cli/key_file,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle))
$(eval $(call unit,cli/audit_csv,cli common,))
$(eval $(call unit,cli/plain,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle))
$(eval $(call unit,cli/audit_filter,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle))
$(eval $(call unit,cli/source_file,cli common,))
# A child that is none.
PKG_LIBS_childless := $(foreach c,uv_spawn uv_process_kill uv_close uv_is_active uv_now uv_timer_start log_event_fields,-Wl,--wrap=$(c))
$(eval $(call unit,cli/launch_source,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle childless))
# A person at a terminal who is none.
PKG_LIBS_played := $(foreach c,locked_asks locked_read cli_config vault_new_passphrase vault_open_key_file vault_send vault_check_fresh,-Wl,--wrap=$(c))
$(eval $(call unit,cli/restore,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle played))
$(eval $(call unit,cli/launch_key,cli mirror auditlog common proto,libuv yaml jansson msgpack libsodium nettle))
