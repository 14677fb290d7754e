-- Whether revoked CA certificates stand on the ARL alone (C4). An ARL of an earlier version was alone; from now on it is where the configuration says so, and what
-- the configuration says is written down at the next start.

ALTER TABLE issuer ADD COLUMN arl_alone INTEGER NOT NULL DEFAULT 0 CHECK (arl_alone IN (0, 1));
UPDATE issuer SET arl_alone = arl;
