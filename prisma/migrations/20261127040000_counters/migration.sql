-- A refresh leaves no event: the row counts. Columns without a default, or with a constant one, are added without a rewrite of the table.
-- "network" is the /24 or /48 of the last sign-in or refresh; "generationReplays" counts the replays of the current generation.
ALTER TABLE "session"
  ADD COLUMN "network" TEXT,
  ADD COLUMN "firstRefreshAt" TIMESTAMPTZ(3),
  ADD COLUMN "firstRefreshAddress" TEXT,
  ADD COLUMN "lastRefreshAddress" TEXT,
  ADD COLUMN "replayCount" INTEGER NOT NULL DEFAULT 0,
  ADD COLUMN "generationReplays" INTEGER NOT NULL DEFAULT 0;

-- Whose session has changed. Rows of nodes from before this migration have none, and are found by their session.
ALTER TABLE "outbox" ADD COLUMN "userId" TEXT;

CREATE OR REPLACE FUNCTION "holdfast_session_changed"() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  NEW."version" := OLD."version" + 1;
  INSERT INTO "outbox" ("sessionId", "userId", "version", "reason", "transactionId")
  VALUES (NEW."id", NEW."userId", NEW."version", CASE WHEN NEW."revokedAt" IS NULL THEN NULL ELSE COALESCE(NEW."revokedReason", 'revoked_by_operator') END,
    pg_current_xact_id()::text::bigint);
  RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION "holdfast_session_deleted"() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO "outbox" ("sessionId", "userId", "version", "reason", "transactionId")
  VALUES (OLD."id", OLD."userId", OLD."version" + 1, 'revoked_by_operator', pg_current_xact_id()::text::bigint);
  RETURN OLD;
END $$;

CREATE OR REPLACE FUNCTION "holdfast_user_ended"() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  WITH ended AS (
    UPDATE "session" SET "revokedAt" = clock_timestamp(), "revokedReason" = TG_ARGV[0], "version" = "version" + 1, "updatedAt" = clock_timestamp()
    WHERE "userId" = OLD."id" AND "revokedAt" IS NULL RETURNING "id", "userId", "version"
  ), outbox_rows AS (
    INSERT INTO "outbox" ("sessionId", "userId", "version", "reason", "transactionId")
    SELECT "id", "userId", "version", TG_ARGV[0], pg_current_xact_id()::text::bigint FROM ended
  )
  INSERT INTO "session_event" ("sessionId", "userId", "type", "cause") SELECT "id", "userId", 'revoked', TG_ARGV[0] FROM ended;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION "holdfast_user_changed"() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  WITH bumped AS (
    UPDATE "session" SET "version" = "version" + 1, "updatedAt" = clock_timestamp()
    WHERE "userId" = NEW."id" AND "revokedAt" IS NULL AND "expiresAt" > clock_timestamp() RETURNING "id", "userId", "version"
  )
  INSERT INTO "outbox" ("sessionId", "userId", "version", "reason", "transactionId")
  SELECT "id", "userId", "version", NULL, pg_current_xact_id()::text::bigint FROM bumped;
  RETURN NULL;
END $$;
