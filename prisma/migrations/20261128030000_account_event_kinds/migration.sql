-- What happened of one kind, to everybody, to one user or by one administrator: found by an index, however much else there is.
CREATE INDEX "account_event_kind_id_idx" ON "account_event"("kind", "id");
CREATE INDEX "account_event_userId_kind_id_idx" ON "account_event"("userId", "kind", "id");
CREATE INDEX "account_event_actorId_kind_id_idx" ON "account_event"("actorId", "kind", "id");
