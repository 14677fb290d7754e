-- Times are seconds since 1970. Never edit this file once released: add V2.

CREATE TABLE issuer (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT    NOT NULL UNIQUE,
    certificate    BLOB    NOT NULL UNIQUE,
    mode           INTEGER NOT NULL,
    cert_id_hashes BLOB    NOT NULL,            -- one octet per algorithm
    crl_partitions INTEGER NOT NULL,
    slot_bits      INTEGER NOT NULL DEFAULT 0,
    crl_floor      INTEGER NOT NULL DEFAULT 0,  -- every later CRL number is greater
    good           INTEGER NOT NULL DEFAULT 0,  -- counters of certificate, kept in the same transactions
    revoked        INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE certificate (
    issuer          INTEGER NOT NULL REFERENCES issuer (id),
    slot_hash       INTEGER NOT NULL,           -- with the top bit inverted, so that signed order is hash order
    serial          BLOB    NOT NULL,           -- content octets of the DER INTEGER
    not_before      INTEGER,
    not_after       INTEGER NOT NULL,
    partition       INTEGER,
    status          INTEGER NOT NULL,           -- 0 good, 1 revoked
    revoked_at      INTEGER,
    reason          INTEGER,
    invalidity_date INTEGER,
    recorded_at     INTEGER NOT NULL,           -- when added or revoked, whichever came last
    PRIMARY KEY (issuer, slot_hash, serial)
) WITHOUT ROWID;

-- Covers what a CRL needs, so that building one is a scan of this index alone.
CREATE INDEX certificate_revoked ON certificate
    (issuer, partition, slot_hash, serial, not_before, not_after, revoked_at, reason, invalidity_date, recorded_at)
    WHERE status = 1;

-- S4.4, whatever the program does.
CREATE TRIGGER certificate_stays_revoked BEFORE UPDATE ON certificate
WHEN OLD.status = 1 AND (NEW.status <> 1 OR NEW.revoked_at IS NOT OLD.revoked_at OR NEW.reason IS NOT OLD.reason)
BEGIN
    SELECT RAISE(ABORT, 'a revocation is never undone (S4.4)');
END;

CREATE TABLE change (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, -- one writer at a time: the order of commits
    issuer   INTEGER NOT NULL REFERENCES issuer (id),
    kind     INTEGER NOT NULL,
    payload  BLOB    NOT NULL
);

CREATE TABLE watermark (
    consumer TEXT    PRIMARY KEY NOT NULL,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE signer (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    issuer      INTEGER NOT NULL REFERENCES issuer (id),
    key_hash    BLOB    NOT NULL,
    algorithm   INTEGER NOT NULL,
    certificate BLOB
);
CREATE INDEX signer_issuer ON signer (issuer);

CREATE TABLE response_pack (
    issuer       INTEGER NOT NULL REFERENCES issuer (id),
    cert_id_hash INTEGER NOT NULL,
    slot         INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    this_update  INTEGER NOT NULL,
    next_update  INTEGER NOT NULL,
    blob         BLOB    NOT NULL,
    PRIMARY KEY (issuer, cert_id_hash, slot)
) WITHOUT ROWID;

-- The heads of all packs are read without touching the blobs' pages.
CREATE INDEX response_pack_head ON response_pack (issuer, cert_id_hash, slot, generation, this_update, next_update);

CREATE TABLE crl (
    id          INTEGER PRIMARY KEY,
    issuer      INTEGER NOT NULL REFERENCES issuer (id),
    scope       INTEGER NOT NULL,               -- -1 full, otherwise the partition
    number      INTEGER NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    refresh_at  INTEGER NOT NULL,
    der         BLOB    NOT NULL,
    UNIQUE (issuer, scope, number)
);
