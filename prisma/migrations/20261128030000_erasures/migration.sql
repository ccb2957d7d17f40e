-- People who were erased: the id and when, and nothing that names them. "nameHashes" (under a key of AUTH_SECRET) and "countKey" say what is
-- still to be looked for, and are emptied when nothing is.
CREATE TABLE "erasure" (
    "userId" TEXT NOT NULL,
    "requestedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "doneAt" TIMESTAMPTZ(3),
    "sweptAt" TIMESTAMPTZ(3),
    "nameHashes" TEXT[],
    "countKey" TEXT,

    CONSTRAINT "erasure_pkey" PRIMARY KEY ("userId")
);

-- Those that are not over, few at any time.
CREATE INDEX "erasure_open_idx" ON "erasure"("requestedAt") WHERE "sweptAt" IS NULL;
