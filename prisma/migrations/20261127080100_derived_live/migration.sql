-- The live sessions that began by a one-time token, by the session with which they end.
CREATE INDEX CONCURRENTLY "session_source_idx" ON "session"("sourceSessionId", "expiresAt") WHERE "sourceSessionId" IS NOT NULL AND "revokedAt" IS NULL;
