-- CreateIndex
CREATE INDEX "outbox_transactionId_idx" ON "outbox"("transactionId");
