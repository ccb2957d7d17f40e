-- The changes of a user's sessions that no node has confirmed yet.
CREATE INDEX CONCURRENTLY "outbox_open_idx" ON "outbox"("userId", "id") WHERE "doneAt" IS NULL;
