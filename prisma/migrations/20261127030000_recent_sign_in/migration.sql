-- When a credential was last shown in a session (the second factor as well, where there is one), and when a password was that waits for
-- the factor. Sessions that are older have shown none. Columns without a default: no row is rewritten.
ALTER TABLE "session" ADD COLUMN "reauthAt" TIMESTAMPTZ(3), ADD COLUMN "passwordAt" TIMESTAMPTZ(3);
