-- Keys are named by what all their holders have in common: of RSA the modulus, of a point its x-coordinate. Until now it was the SHA-256 of the
-- SubjectPublicKeyInfo, of which one key has many. kakunin_key reads a certificate; what it cannot read keeps its name.

DROP TRIGGER issued_is_not_changed;
DROP INDEX issued_public_key;
UPDATE issued SET public_key = coalesce(kakunin_key(certificate), public_key);
CREATE TRIGGER issued_is_not_changed BEFORE UPDATE ON issued
BEGIN
    SELECT RAISE(ABORT, 'what was issued is never changed (S4.6)');
END;

CREATE INDEX issued_public_key ON issued (public_key);

-- Keys of certificates that were issued elsewhere, and taken over with their files.
CREATE TABLE held_key (
    public_key BLOB    NOT NULL,
    issuer     INTEGER NOT NULL REFERENCES issuer (id),
    serial     BLOB    NOT NULL,
    subject    BLOB    NOT NULL,                -- SHA-256 of the Name, however it is written
    PRIMARY KEY (public_key, issuer, serial)
) WITHOUT ROWID;
