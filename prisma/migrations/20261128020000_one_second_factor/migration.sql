-- A user has one second factor. Requests that enrolled at once left several, and which of them counted was for PostgreSQL to choose: the one
-- stays that counts and whose codes were used last, else the newest. Nothing is enrolled while this runs; it is over in a moment.
LOCK TABLE "two_factor" IN SHARE ROW EXCLUSIVE MODE;

DELETE FROM "two_factor" WHERE "id" IN (
  SELECT "id" FROM (
    SELECT "id", row_number() OVER (
      PARTITION BY "userId" ORDER BY ("verified" IS DISTINCT FROM false) DESC, "lastUsedStep" DESC NULLS LAST, "id" DESC
    ) AS "place" FROM "two_factor"
  ) "ranked" WHERE "place" > 1
);

CREATE UNIQUE INDEX "two_factor_userId_key" ON "two_factor"("userId");
DROP INDEX "two_factor_userId_idx";
