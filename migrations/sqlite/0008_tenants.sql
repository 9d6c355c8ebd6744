-- Tenants share the host by weight. Tasks wait by lane and tenant, so that the next one of any tenant is found with one seek; what a
-- tenant was served so far (pass, see task/fair.rs) outlives a restart. Tenant 0 is nobody in particular.
CREATE TABLE tenants (
    tenant_id INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE,
    weight    INTEGER NOT NULL DEFAULT 100 CHECK (weight BETWEEN 1 AND 10000),
    pass      INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO tenants (tenant_id, name) VALUES (0, '');
INSERT INTO tenants (name) SELECT DISTINCT tenant FROM execution_tasks WHERE tenant <> '' ORDER BY tenant;

CREATE TABLE ready_by_tenant (
    lane_id   INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    run_key   INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (lane_id, tenant_id, run_key, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO ready_by_tenant (lane_id, tenant_id, run_key, seq)
SELECT r.lane_id, n.tenant_id, r.run_key, r.seq
FROM ready r JOIN execution_tasks t ON t.seq = r.seq JOIN tenants n ON n.name = coalesce(t.tenant, '');
DROP TABLE ready;
ALTER TABLE ready_by_tenant RENAME TO ready;

ALTER TABLE scheduled ADD COLUMN tenant_id INTEGER NOT NULL DEFAULT 0;
UPDATE scheduled SET tenant_id = (SELECT n.tenant_id FROM execution_tasks t JOIN tenants n ON n.name = coalesce(t.tenant, '')
                                  WHERE t.seq = scheduled.seq);

-- What tasks of a lane have cost lately, in microseconds of service; what the next one is charged with at its start.
ALTER TABLE lanes ADD COLUMN expected_us INTEGER NOT NULL DEFAULT 1000;
