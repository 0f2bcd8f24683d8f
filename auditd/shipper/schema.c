/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three roles that nobody logs in as, to be granted to those who do:
 *
 *   bulkhead_shipper   adds rows; reads nothing, changes nothing, removes nothing
 *   bulkhead_reader    reads the records of the tenants that bulkhead.reader_tenants gives to its name
 *   bulkhead_auditor   reads everything
 *
 * The shipper learns where to go on from a function, so that it needs no right to read. Policies hold for everybody but
 * the owner of the tables, who made them and could drop them.
 */
#include "auditd/shipper/schema.h"

#include "auditd/shipper/row.h"

static const char schema_head[] =
	"-- Bulkhead: the mirror of the audit log. Printed by `bulkhead audit mirror-schema`; apply it as the owner of "
	"the\n"
	"-- database, any number of times:  bulkhead audit mirror-schema | psql -v ON_ERROR_STOP=1 DATABASE\n"
	"BEGIN;\n"
	"SET LOCAL client_min_messages = warning;\n"
	"DO $$ BEGIN\n"
	"  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bulkhead_shipper') THEN CREATE ROLE bulkhead_shipper; "
	"END IF;\n"
	"  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bulkhead_reader') THEN CREATE ROLE bulkhead_reader; "
	"END IF;\n"
	"  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bulkhead_auditor') THEN CREATE ROLE bulkhead_auditor; "
	"END IF;\n"
	"END $$;\n"
	"CREATE SCHEMA IF NOT EXISTS bulkhead;\n"
	"REVOKE ALL ON SCHEMA bulkhead FROM PUBLIC;\n"
	"\n"
	"-- One row for each gateway whose log is mirrored here, with the key that signs it.\n"
	"CREATE TABLE IF NOT EXISTS bulkhead.logs (\n"
	"  log int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
	"  origin text NOT NULL UNIQUE,\n"
	"  vkey text NOT NULL,\n"
	"  since timestamptz NOT NULL DEFAULT now());\n"
	"-- Every checkpoint that the shipper saw. One that does not continue those before it is kept as evidence: not "
	"consistent.\n"
	"CREATE TABLE IF NOT EXISTS bulkhead.checkpoints (\n"
	"  log int NOT NULL,\n"
	"  size numeric(20) NOT NULL,\n"
	"  root bytea NOT NULL,\n"
	"  consistent boolean NOT NULL,\n"
	"  note text NOT NULL,\n"
	"  seen timestamptz NOT NULL DEFAULT now(),\n"
	"  PRIMARY KEY (log, size, root, consistent));\n"
	"-- Which tenants a reader sees: the name of a login role that is in bulkhead_reader, and a tenant.\n"
	"CREATE TABLE IF NOT EXISTS bulkhead.reader_tenants (\n"
	"  role name NOT NULL,\n"
	"  tenant text NOT NULL CHECK (tenant <> ''),\n"
	"  PRIMARY KEY (role, tenant));\n"
	"-- The records. For queries; the evidence is the log itself, which `audit-shipper verify` compares with this "
	"table.\n"
	"CREATE TABLE IF NOT EXISTS bulkhead.records (\n"
	"  log int NOT NULL,\n"
	"  idx bigint NOT NULL CHECK (idx >= 0),\n"
	"  PRIMARY KEY (log, idx));\n";

static const char schema_tail[] =
	"ALTER TABLE bulkhead.records ADD COLUMN IF NOT EXISTS time timestamptz\n"
	"  GENERATED ALWAYS AS (to_timestamp(time_ns / 1000000000)) STORED;\n"
	"CREATE INDEX IF NOT EXISTS records_tenant_time ON bulkhead.records (tenant, time);\n"
	"CREATE INDEX IF NOT EXISTS records_time ON bulkhead.records (time);\n"
	"CREATE INDEX IF NOT EXISTS records_request ON bulkhead.records (request_id);\n"
	"\n"
	"CREATE OR REPLACE FUNCTION bulkhead.mirror_open(of text, key text)\n"
	"  RETURNS TABLE (log int, next numeric, size numeric, root bytea)\n"
	"  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$\n"
	"DECLARE l bulkhead.logs;\n"
	"BEGIN\n"
	"  INSERT INTO bulkhead.logs (origin, vkey) VALUES (of, key) ON CONFLICT DO NOTHING;\n"
	"  SELECT * INTO l FROM bulkhead.logs WHERE origin = of;\n"
	"  IF l.vkey <> key THEN\n"
	"    RAISE EXCEPTION 'log % is mirrored here under another key', of USING ERRCODE = 'BH001';\n"
	"  END IF;\n"
	"  RETURN QUERY SELECT l.log, (SELECT coalesce(max(r.idx) + 1, 0)::numeric FROM bulkhead.records r WHERE r.log "
	"= l.log),\n"
	"    c.size, c.root FROM (SELECT) one LEFT JOIN LATERAL (SELECT k.size, k.root FROM bulkhead.checkpoints k\n"
	"    WHERE k.log = l.log AND k.consistent ORDER BY k.size DESC LIMIT 1) c ON true;\n"
	"END $$;\n"
	"\n"
	"REVOKE ALL ON ALL TABLES IN SCHEMA bulkhead FROM PUBLIC, bulkhead_shipper, bulkhead_reader, "
	"bulkhead_auditor;\n"
	"REVOKE ALL ON FUNCTION bulkhead.mirror_open(text, text) FROM PUBLIC;\n"
	"GRANT USAGE ON SCHEMA bulkhead TO bulkhead_shipper, bulkhead_reader, bulkhead_auditor;\n"
	"GRANT EXECUTE ON FUNCTION bulkhead.mirror_open(text, text) TO bulkhead_shipper;\n"
	"GRANT INSERT ON bulkhead.records, bulkhead.checkpoints TO bulkhead_shipper;\n"
	"GRANT SELECT ON bulkhead.records, bulkhead.reader_tenants TO bulkhead_reader;\n"
	"GRANT SELECT ON ALL TABLES IN SCHEMA bulkhead TO bulkhead_auditor;\n"
	"\n"
	"ALTER TABLE bulkhead.records ENABLE ROW LEVEL SECURITY;\n"
	"ALTER TABLE bulkhead.reader_tenants ENABLE ROW LEVEL SECURITY;\n"
	"DROP POLICY IF EXISTS ship ON bulkhead.records;\n"
	"DROP POLICY IF EXISTS read ON bulkhead.records;\n"
	"DROP POLICY IF EXISTS audit ON bulkhead.records;\n"
	"DROP POLICY IF EXISTS own ON bulkhead.reader_tenants;\n"
	"DROP POLICY IF EXISTS audit ON bulkhead.reader_tenants;\n"
	"CREATE POLICY ship ON bulkhead.records FOR INSERT TO bulkhead_shipper WITH CHECK (true);\n"
	"CREATE POLICY read ON bulkhead.records FOR SELECT TO bulkhead_reader\n"
	"  USING (tenant IN (SELECT t.tenant FROM bulkhead.reader_tenants t WHERE t.role = current_user));\n"
	"CREATE POLICY audit ON bulkhead.records FOR SELECT TO bulkhead_auditor USING (true);\n"
	"CREATE POLICY own ON bulkhead.reader_tenants FOR SELECT TO bulkhead_reader USING (role = current_user);\n"
	"CREATE POLICY audit ON bulkhead.reader_tenants FOR SELECT TO bulkhead_auditor USING (true);\n"
	"COMMIT;\n";

/* A literal: what is quoted is a line of messages.def. */
static int schema_literal(const char *text, struct buf *to)
{
	int r = buf_append_str(to, "'");

	for (; *text && !r; text++)
		r = buf_append(to, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
	return r ? r : buf_append_str(to, "'");
}

static int schema_column(const struct row_column *c, struct buf *to)
{
	int r = buf_printf(to, "ALTER TABLE bulkhead.records ADD COLUMN IF NOT EXISTS %s %s;\n", c->name, c->type);

	if (!r)
		r = buf_printf(to, "COMMENT ON COLUMN bulkhead.records.%s IS ", c->name);
	if (!r)
		r = schema_literal(c->doc, to);
	return r ? r : buf_append_str(to, ";\n");
}

int schema_sql(struct buf *to)
{
	struct row_column columns[ROW_COLUMNS_MAX];
	size_t n = row_columns(columns);
	int r = buf_append_str(to, schema_head);

	for (size_t i = 0; i < n && !r; i++)
		r = schema_column(&columns[i], to);
	return r ? r : buf_append_str(to, schema_tail);
}
