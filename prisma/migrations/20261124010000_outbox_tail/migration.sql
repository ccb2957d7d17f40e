-- CreateIndex
CREATE INDEX "outbox_transactionId_idx" ON "outbox"("transactionId");

-- A change that revokes nothing (of a name, of a role) has no reason.
ALTER TABLE "outbox" ALTER COLUMN "reason" DROP NOT NULL;
