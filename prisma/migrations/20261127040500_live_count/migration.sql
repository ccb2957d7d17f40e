-- How many sessions of a user live, up to "enough", as of now: each statement of a volatile function sees what was committed before it. The
-- statement that calls it may have waited for the user's row, and itself sees what was committed before that.
CREATE FUNCTION "holdfast_live_sessions"("of_user" TEXT, "by_admin" TEXT, "but" TEXT, "enough" INTEGER) RETURNS INTEGER LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF "by_admin" IS NULL THEN
    RETURN (SELECT count(*)::int FROM (
      SELECT 1 FROM "session" s WHERE s."userId" = "of_user" AND s."revokedAt" IS NULL AND s."expiresAt" > statement_timestamp()
        AND s."impersonatedBy" IS NULL AND s."id" IS DISTINCT FROM "but" LIMIT "enough") live);
  END IF;
  RETURN (SELECT count(*)::int FROM (
    SELECT 1 FROM "session" s WHERE s."impersonatedBy" = "by_admin" AND s."revokedAt" IS NULL AND s."expiresAt" > statement_timestamp()
      LIMIT "enough") live);
END $$;
