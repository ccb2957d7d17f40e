-- CreateIndex
CREATE INDEX "outbox_transactionId_idx" ON "outbox"("transactionId");

-- A change that revokes nothing (of a name, of a role) has no reason.
ALTER TABLE "outbox" ALTER COLUMN "reason" DROP NOT NULL;

-- Whoever ends a session, or the person behind it, by hand (psql, a script) is heard by the caches as well: within one round of
-- the outbox. Our own statements bump the version and write the outbox themselves, and pass these triggers by.
CREATE FUNCTION "holdfast_session_changed"() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  NEW."version" := OLD."version" + 1;
  INSERT INTO "outbox" ("sessionId", "version", "reason", "transactionId")
  VALUES (NEW."id", NEW."version", CASE WHEN NEW."revokedAt" IS NULL THEN NULL ELSE COALESCE(NEW."revokedReason", 'revoked_by_operator') END,
    pg_current_xact_id()::text::bigint);
  RETURN NEW;
END $$;

CREATE TRIGGER "session_changed" BEFORE UPDATE ON "session" FOR EACH ROW
WHEN (OLD."version" = NEW."version" AND (OLD."revokedAt" IS DISTINCT FROM NEW."revokedAt"
  OR NEW."expiresAt" < OLD."expiresAt" OR NEW."absoluteExpiresAt" < OLD."absoluteExpiresAt"))
EXECUTE FUNCTION "holdfast_session_changed"();

CREATE FUNCTION "holdfast_session_deleted"() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO "outbox" ("sessionId", "version", "reason", "transactionId")
  VALUES (OLD."id", OLD."version" + 1, 'revoked_by_operator', pg_current_xact_id()::text::bigint);
  RETURN OLD;
END $$;

CREATE TRIGGER "session_deleted" AFTER DELETE ON "session" FOR EACH ROW
WHEN (OLD."revokedAt" IS NULL AND OLD."expiresAt" > now()) EXECUTE FUNCTION "holdfast_session_deleted"();

-- Ends the sessions of a user who is deleted or banned by hand; through the server they have ended by then.
CREATE FUNCTION "holdfast_user_ended"() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  WITH ended AS (
    UPDATE "session" SET "revokedAt" = clock_timestamp(), "revokedReason" = TG_ARGV[0], "version" = "version" + 1, "updatedAt" = clock_timestamp()
    WHERE "userId" = OLD."id" AND "revokedAt" IS NULL RETURNING "id", "userId", "version"
  ), outbox_rows AS (
    INSERT INTO "outbox" ("sessionId", "version", "reason", "transactionId")
    SELECT "id", "version", TG_ARGV[0], pg_current_xact_id()::text::bigint FROM ended
  )
  INSERT INTO "session_event" ("sessionId", "userId", "type", "cause") SELECT "id", "userId", 'revoked', TG_ARGV[0] FROM ended;
  RETURN NULL;
END $$;

CREATE TRIGGER "user_deleted" AFTER DELETE ON "user" FOR EACH ROW EXECUTE FUNCTION "holdfast_user_ended"('user_deleted');

CREATE TRIGGER "user_banned" AFTER UPDATE OF "banned" ON "user" FOR EACH ROW
WHEN (NEW."banned" AND NOT COALESCE(OLD."banned", false)) EXECUTE FUNCTION "holdfast_user_ended"('user_banned');

-- What a check shows of a user, changed by hand. The server bumps the sessions itself, and says so for its transaction.
CREATE FUNCTION "holdfast_user_changed"() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  WITH bumped AS (
    UPDATE "session" SET "version" = "version" + 1, "updatedAt" = clock_timestamp()
    WHERE "userId" = NEW."id" AND "revokedAt" IS NULL AND "expiresAt" > clock_timestamp() RETURNING "id", "version"
  )
  INSERT INTO "outbox" ("sessionId", "version", "reason", "transactionId")
  SELECT "id", "version", NULL, pg_current_xact_id()::text::bigint FROM bumped;
  RETURN NULL;
END $$;

CREATE TRIGGER "user_changed" AFTER UPDATE OF "name", "email", "emailVerified", "image", "role", "twoFactorEnabled" ON "user" FOR EACH ROW
WHEN (current_setting('holdfast.bumped', true) IS DISTINCT FROM NEW."id")
EXECUTE FUNCTION "holdfast_user_changed"();
