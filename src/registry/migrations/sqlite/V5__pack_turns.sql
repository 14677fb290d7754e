-- When something in a pack is signed again is no longer told by its age: its responses are signed part by part. Read from the index, not from behind the blob.

ALTER TABLE response_pack ADD COLUMN refresh_at INTEGER NOT NULL DEFAULT 0;
DROP INDEX response_pack_head;
CREATE INDEX response_pack_head ON response_pack (issuer, cert_id_hash, slot, generation, this_update, next_update, refresh_at);
