-- How a signer's responses are made is part of the signer.

ALTER TABLE signer ADD COLUMN archive_cutoff INTEGER;  -- NULL: its responses have no ArchiveCutoff
