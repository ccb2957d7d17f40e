-- What retention removes of sessions that live: neither their beginning nor their end.
CREATE INDEX CONCURRENTLY "session_event_routine_idx" ON "session_event"("type", "at") WHERE "type" <> 'created' AND "type" <> 'revoked';
