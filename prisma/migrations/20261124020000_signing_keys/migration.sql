-- CreateIndex
CREATE INDEX "session_rotationPepper_idx" ON "session"("rotationPepper");

-- One key signs and one is next, however many nodes start or rotate at once. Prisma's schema has no words for an index with a condition.
CREATE UNIQUE INDEX "signing_key_current" ON "signing_key" ((true)) WHERE "activatedAt" IS NOT NULL AND "retiredAt" IS NULL;
CREATE UNIQUE INDEX "signing_key_next" ON "signing_key" ((true)) WHERE "activatedAt" IS NULL AND "retiredAt" IS NULL;
