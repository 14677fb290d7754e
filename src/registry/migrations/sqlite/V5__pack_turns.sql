-- When something in a pack is signed again is no longer told by its age: its responses are signed part by part. The column stands before the blob: to read one
-- behind it, SQLite reads all of the blob, and keeps it in its cache.

CREATE TABLE response_pack_with_turns (
    issuer       INTEGER NOT NULL REFERENCES issuer (id),
    cert_id_hash INTEGER NOT NULL,
    slot         INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    this_update  INTEGER NOT NULL,
    next_update  INTEGER NOT NULL,
    refresh_at   INTEGER NOT NULL,
    blob         BLOB    NOT NULL,
    PRIMARY KEY (issuer, cert_id_hash, slot)
) WITHOUT ROWID;

INSERT INTO response_pack_with_turns
    SELECT issuer, cert_id_hash, slot, generation, this_update, next_update, 0, blob FROM response_pack ORDER BY issuer, cert_id_hash, slot;
DROP TABLE response_pack;
ALTER TABLE response_pack_with_turns RENAME TO response_pack;

CREATE INDEX response_pack_head ON response_pack (issuer, cert_id_hash, slot, generation, this_update, next_update, refresh_at);
