-- Mail: proofs that somebody reads a mailbox, and the mails that carry them. No row holds a link or a code: both are derived from the row
-- with a key of AUTH_SECRET.
CREATE TABLE "proof" (
    "id" TEXT NOT NULL DEFAULT "holdfast_uuid_v7"(),
    "purpose" TEXT NOT NULL,
    "email" TEXT NOT NULL,
    "userId" TEXT,
    "epoch" INTEGER,
    "handleHash" TEXT,
    "keyId" TEXT NOT NULL,
    "details" JSONB,
    "wrongCodes" INTEGER NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "expiresAt" TIMESTAMPTZ(3) NOT NULL,
    "usedAt" TIMESTAMPTZ(3),

    CONSTRAINT "proof_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "proof_email_createdAt_idx" ON "proof"("email", "createdAt");
CREATE INDEX "proof_userId_idx" ON "proof"("userId");
CREATE INDEX "proof_createdAt_idx" ON "proof"("createdAt");

CREATE TABLE "mail" (
    "id" TEXT NOT NULL DEFAULT "holdfast_uuid_v7"(),
    "kind" TEXT NOT NULL,
    "recipient" TEXT NOT NULL,
    "userId" TEXT,
    "proofId" TEXT,
    "language" TEXT NOT NULL,
    "facts" JSONB,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "expiresAt" TIMESTAMPTZ(3) NOT NULL,
    "nextAt" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "claim" TEXT,
    "claimedUntil" TIMESTAMPTZ(3),
    "sentAt" TIMESTAMPTZ(3),
    "failedAt" TIMESTAMPTZ(3),
    "failure" TEXT,

    CONSTRAINT "mail_pkey" PRIMARY KEY ("id")
);
-- The mails that are still to be sent.
CREATE INDEX "mail_open_idx" ON "mail"("nextAt") WHERE "sentAt" IS NULL AND "failedAt" IS NULL;
CREATE INDEX "mail_recipient_idx" ON "mail"("recipient");
CREATE INDEX "mail_userId_idx" ON "mail"("userId");
CREATE INDEX "mail_proofId_idx" ON "mail"("proofId");
-- For retention.
CREATE INDEX "mail_sentAt_idx" ON "mail"("sentAt");
CREATE INDEX "mail_failedAt_idx" ON "mail"("failedAt");

-- "signUpHandle": set while an account that signed up by itself has never had a proven address. It is the hash of what only the browser or
-- app that signed up holds.
ALTER TABLE "user" ADD COLUMN "signUpHandle" TEXT, ADD COLUMN "language" TEXT;

-- How the sign-in that waits for a second factor began (RFC 8176). Null for a password.
ALTER TABLE "verification" ADD COLUMN "firstFactor" TEXT;
