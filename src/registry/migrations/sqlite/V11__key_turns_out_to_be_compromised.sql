-- A revocation learns its reason where it had none, and of any other than a compromise that its key is compromised (BR 7.2.2); it is still never undone.

DROP TRIGGER certificate_stays_revoked;
CREATE TRIGGER certificate_stays_revoked BEFORE UPDATE ON certificate
WHEN OLD.status = 1 AND (NEW.status <> 1 OR NEW.revoked_at IS NOT OLD.revoked_at
    OR (OLD.reason IS NOT NULL AND NEW.reason IS NOT OLD.reason AND (NEW.reason IS NOT 1 OR OLD.reason IS 2)))
BEGIN
    SELECT RAISE(ABORT, 'a revocation is never undone (S4.4)');
END;
