-- The live sessions of a user, however many have ended. Built while the table is in use: one statement, outside a transaction.
CREATE INDEX CONCURRENTLY "session_live_idx" ON "session"("userId", "expiresAt") WHERE "revokedAt" IS NULL;
