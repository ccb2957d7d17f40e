-- The ends that came with a source's, and that no node has confirmed yet.
CREATE INDEX CONCURRENTLY "outbox_source_idx" ON "outbox"("sourceSessionId") WHERE "sourceSessionId" IS NOT NULL AND "doneAt" IS NULL;
