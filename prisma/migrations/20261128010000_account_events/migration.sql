-- What happened to accounts. There is no foreign key to "user": what happened outlives the person.
-- "sumKey" is set on rows that sum up failed attempts: one row for each window of time, cause, name and network. It is compared byte by byte, so
-- that the rows of one window are found by a range.
CREATE TABLE "account_event" (
    "id" TEXT NOT NULL DEFAULT holdfast_uuid_v7(),
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "userId" TEXT,
    "kind" TEXT NOT NULL,
    "cause" TEXT,
    "actor" TEXT NOT NULL,
    "actorId" TEXT,
    "sessionId" TEXT,
    "ipAddress" TEXT,
    "userAgent" TEXT,
    "detail" JSONB,
    "nameHash" TEXT,
    "count" INTEGER NOT NULL DEFAULT 1,
    "lastAt" TIMESTAMPTZ(3),
    "sumKey" TEXT COLLATE "C",

    CONSTRAINT "account_event_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "account_event_userId_id_idx" ON "account_event"("userId", "id");
CREATE INDEX "account_event_actorId_id_idx" ON "account_event"("actorId", "id");
CREATE INDEX "account_event_nameHash_id_idx" ON "account_event"("nameHash", "id");
CREATE INDEX "account_event_at_idx" ON "account_event"("at");
CREATE UNIQUE INDEX "account_event_sumKey_key" ON "account_event"("sumKey");

-- An impersonation that began by a one-time token ends with its source: that is told like any other end of one.
CREATE OR REPLACE FUNCTION "holdfast_source_ended"() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  WITH derived AS (
    SELECT "id" FROM "session" WHERE "sourceSessionId" = OLD."id" AND "revokedAt" IS NULL
      AND "expiresAt" > statement_timestamp() - interval '1 hour' ORDER BY "id" FOR UPDATE
  ), ended AS (
    UPDATE "session" s SET "revokedAt" = clock_timestamp(), "revokedReason" = 'source_ended', "version" = s."version" + 1, "updatedAt" = clock_timestamp()
    FROM derived WHERE s."id" = derived."id" AND s."revokedAt" IS NULL RETURNING s."id", s."userId", s."version", s."impersonatedBy"
  ), outbox_rows AS (
    INSERT INTO "outbox" ("sessionId", "userId", "version", "reason", "transactionId", "sourceSessionId")
    SELECT "id", "userId", "version", 'source_ended', pg_current_xact_id()::text::bigint, OLD."id" FROM ended
  ), impersonations AS (
    INSERT INTO "account_event" ("userId", "kind", "cause", "actor", "sessionId", "detail")
    SELECT "userId", 'impersonation_ended', 'source_ended', 'system', "id", jsonb_build_object('administrator', "impersonatedBy")
    FROM ended WHERE "impersonatedBy" IS NOT NULL
  )
  INSERT INTO "session_event" ("sessionId", "userId", "type", "cause") SELECT "id", "userId", 'revoked', 'source_ended' FROM ended;
  RETURN NULL;
END $$;
