-- A session that began by a one-time token ends with the session that made the token. Where that one began so itself, with the first of them.
-- "hasDerived" says that such sessions began; it is set under the lock of the source's row. Both columns are added without a rewrite of the table.
ALTER TABLE "session"
  ADD COLUMN "sourceSessionId" TEXT,
  ADD COLUMN "hasDerived" BOOLEAN NOT NULL DEFAULT false;

-- With which session's end the change came: whoever ends that one waits until this change is known, too.
ALTER TABLE "outbox" ADD COLUMN "sourceSessionId" TEXT;

-- Whoever ends the source, ends them: the server, an older version of it, or somebody by hand. Each statement of a volatile function sees what
-- was committed before it, and so the session that began while the source's end waited for the row.
CREATE FUNCTION "holdfast_source_ended"() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  WITH derived AS (
    SELECT "id" FROM "session" WHERE "sourceSessionId" = OLD."id" AND "revokedAt" IS NULL
      AND "expiresAt" > statement_timestamp() - interval '1 hour' ORDER BY "id" FOR UPDATE
  ), ended AS (
    UPDATE "session" s SET "revokedAt" = clock_timestamp(), "revokedReason" = 'source_ended', "version" = s."version" + 1, "updatedAt" = clock_timestamp()
    FROM derived WHERE s."id" = derived."id" AND s."revokedAt" IS NULL RETURNING s."id", s."userId", s."version"
  ), outbox_rows AS (
    INSERT INTO "outbox" ("sessionId", "userId", "version", "reason", "transactionId", "sourceSessionId")
    SELECT "id", "userId", "version", 'source_ended', pg_current_xact_id()::text::bigint, OLD."id" FROM ended
  )
  INSERT INTO "session_event" ("sessionId", "userId", "type", "cause") SELECT "id", "userId", 'revoked', 'source_ended' FROM ended;
  RETURN NULL;
END $$;

CREATE TRIGGER "session_source_ended" AFTER UPDATE OF "revokedAt" ON "session" FOR EACH ROW
WHEN (NEW."hasDerived" AND OLD."revokedAt" IS NULL AND NEW."revokedAt" IS NOT NULL) EXECUTE FUNCTION "holdfast_source_ended"();

CREATE TRIGGER "session_source_deleted" AFTER DELETE ON "session" FOR EACH ROW
WHEN (OLD."hasDerived" AND OLD."revokedAt" IS NULL) EXECUTE FUNCTION "holdfast_source_ended"();
