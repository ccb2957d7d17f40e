-- The live impersonations by an administrator.
CREATE INDEX CONCURRENTLY "session_impersonation_idx" ON "session"("impersonatedBy", "expiresAt") WHERE "impersonatedBy" IS NOT NULL AND "revokedAt" IS NULL;
