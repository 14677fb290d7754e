-- CRLs of more scopes, in chunks and with heads of their own; revocations in the order of the feed.

ALTER TABLE issuer ADD COLUMN arl INTEGER NOT NULL DEFAULT 0;               -- CA certificates stand on a CRL of their own
ALTER TABLE issuer ADD COLUMN full_delta INTEGER NOT NULL DEFAULT 0;
ALTER TABLE issuer ADD COLUMN partition_deltas INTEGER NOT NULL DEFAULT 0;

ALTER TABLE certificate ADD COLUMN is_ca INTEGER NOT NULL DEFAULT 0;
-- When added or revoked, whichever came last: greater than every change committed before, and at most the change that told of it.
ALTER TABLE certificate ADD COLUMN recorded_change INTEGER NOT NULL DEFAULT 0;

-- Covers what a CRL needs, so that building one is a scan of this index alone.
DROP INDEX certificate_revoked;
CREATE INDEX certificate_revoked ON certificate
    (issuer, partition, is_ca, slot_hash, serial, not_after, recorded_change, revoked_at, reason, invalidity_date)
    WHERE status = 1;
-- An ARL is a few entries out of millions, and so is a delta.
CREATE INDEX certificate_revoked_ca ON certificate (issuer, not_after) WHERE status = 1 AND is_ca = 1;
CREATE INDEX certificate_recorded ON certificate (issuer, recorded_change) WHERE status = 1;

ALTER TABLE crl RENAME TO crl_before;

CREATE TABLE crl (
    id          INTEGER PRIMARY KEY,
    issuer      INTEGER NOT NULL REFERENCES issuer (id),
    scope       INTEGER NOT NULL,               -- -1 full, -2 ARL, -3 delta of the full one, n >= 0 a partition, -2^32 - n its delta
    number      INTEGER NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    refresh_at  INTEGER NOT NULL,
    entries     INTEGER NOT NULL,
    octets      INTEGER NOT NULL,
    scheduled   INTEGER NOT NULL,               -- 0: because of a revocation, before its time
    reflects    INTEGER NOT NULL,               -- every change up to here is reflected in it
    point       TEXT,                           -- distribution point of its issuingDistributionPoint
    contents    INTEGER NOT NULL,               -- 0 everybody's, 1 end entities', 2 CAs' certificates
    has_delta   INTEGER NOT NULL,               -- 1: its freshestCRL names a delta
    base        INTEGER,                        -- number of its base, where it is a delta
    UNIQUE (issuer, scope, number)
);
CREATE INDEX crl_scheduled ON crl (issuer, scope, number) WHERE scheduled = 1;

-- A CRL of any size is written and read without a second copy of it in memory.
CREATE TABLE crl_chunk (
    crl   INTEGER NOT NULL REFERENCES crl (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    der   BLOB    NOT NULL,
    PRIMARY KEY (crl, place)
);

-- What an older one reflects is not known: it is not called scheduled, so that nothing leaves the CRLs because of it.
INSERT INTO crl SELECT id, issuer, scope, number, this_update, next_update, refresh_at, 0, length(der), 0, 0, NULL, 0, 0, NULL FROM crl_before;
INSERT INTO crl_chunk SELECT id, 0, der FROM crl_before;
DROP TABLE crl_before;
