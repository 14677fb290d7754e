-- A reason may be learnt of a revocation that was recorded without one, where a certificate turns out to be a CA's (C3): nothing is undone by it (S4.4).

DROP TRIGGER certificate_stays_revoked;
CREATE TRIGGER certificate_stays_revoked BEFORE UPDATE ON certificate
WHEN OLD.status = 1 AND (NEW.status <> 1 OR NEW.revoked_at IS NOT OLD.revoked_at OR (OLD.reason IS NOT NULL AND NEW.reason IS NOT OLD.reason))
BEGIN
    SELECT RAISE(ABORT, 'a revocation is never undone (S4.4)');
END;
