-- What was ordered, approved, by whom, and what came of it (S4.5, S4.8); and which certificates were issued by which order.

CREATE TABLE work_log (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT    NOT NULL,
    event    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    detail   TEXT    NOT NULL,                  -- JSON
    chain    BLOB    NOT NULL                   -- SHA-256 over the row before's and this row
);

-- An order is begun once, and ends once: it cannot be run again.
CREATE UNIQUE INDEX work_log_begun ON work_log (order_id) WHERE event = 1;
CREATE UNIQUE INDEX work_log_ended ON work_log (order_id) WHERE event IN (4, 5);
CREATE INDEX work_log_order ON work_log (order_id, sequence);

CREATE TRIGGER work_log_is_not_changed BEFORE UPDATE ON work_log
BEGIN
    SELECT RAISE(ABORT, 'the work log is never changed (S4.5)');
END;
CREATE TRIGGER work_log_is_not_cut BEFORE DELETE ON work_log
BEGIN
    SELECT RAISE(ABORT, 'the work log is never cut (S4.5)');
END;

CREATE TABLE issued (
    id          INTEGER PRIMARY KEY,
    work        INTEGER NOT NULL REFERENCES work_log (sequence),    -- the order's first entry
    item        INTEGER NOT NULL,               -- which of the order's inputs, from 0
    issuer      INTEGER NOT NULL REFERENCES issuer (id),
    serial      BLOB    NOT NULL,
    public_key  BLOB    NOT NULL,               -- SHA-256 of the SubjectPublicKeyInfo
    subject     BLOB    NOT NULL,               -- SHA-256 of the Name
    not_after   INTEGER NOT NULL,
    certificate BLOB    NOT NULL,
    UNIQUE (work, item)
);
CREATE INDEX issued_public_key ON issued (public_key);
CREATE INDEX issued_subject ON issued (issuer, subject, not_after);

CREATE TRIGGER issued_is_not_changed BEFORE UPDATE ON issued
BEGIN
    SELECT RAISE(ABORT, 'what was issued is never changed (S4.6)');
END;
CREATE TRIGGER issued_is_not_deleted BEFORE DELETE ON issued
BEGIN
    SELECT RAISE(ABORT, 'what was issued is never deleted (S4.6)');
END;

-- What a CA no longer does because of an order, whatever a configuration says (S5.2).
ALTER TABLE issuer ADD COLUMN mode_floor INTEGER NOT NULL DEFAULT 0;
