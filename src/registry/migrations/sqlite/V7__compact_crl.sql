-- A CRL is kept in less than half of its octets. Those that are there stay as they are.

ALTER TABLE crl ADD COLUMN layout INTEGER NOT NULL DEFAULT 0;   -- of its chunks: 0 octets of the CRL, 1 pieces of a compact one
ALTER TABLE crl ADD COLUMN checksum INTEGER;                    -- xxh3_64 of the CRL, where they are pieces
