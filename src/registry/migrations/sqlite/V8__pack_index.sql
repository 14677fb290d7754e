-- A pack is found through an index of its key alone. In a table without rowid the rows themselves are what a key is compared with: SQLite reads the whole of
-- every pack on the way to the one that is wanted, a dozen of them in a thousand.

CREATE TABLE response_pack_by_rowid (
    issuer       INTEGER NOT NULL REFERENCES issuer (id),
    cert_id_hash INTEGER NOT NULL,
    slot         INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    this_update  INTEGER NOT NULL,
    next_update  INTEGER NOT NULL,
    refresh_at   INTEGER NOT NULL,
    blob         BLOB    NOT NULL,
    PRIMARY KEY (issuer, cert_id_hash, slot)
);

INSERT INTO response_pack_by_rowid
    SELECT issuer, cert_id_hash, slot, generation, this_update, next_update, refresh_at, blob FROM response_pack ORDER BY issuer, cert_id_hash, slot;
DROP TABLE response_pack;
ALTER TABLE response_pack_by_rowid RENAME TO response_pack;

CREATE INDEX response_pack_head ON response_pack (issuer, cert_id_hash, slot, generation, this_update, next_update, refresh_at);
