-- CreateTable
CREATE TABLE "node" (
    "id" TEXT NOT NULL,
    "mode" TEXT NOT NULL,
    "leaseMs" INTEGER NOT NULL,
    "cacheTtlSeconds" INTEGER NOT NULL,
    "redis" TEXT,
    "startedAt" TIMESTAMPTZ(3) NOT NULL,
    "renewedAt" TIMESTAMPTZ(3) NOT NULL,
    "expiresAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "node_pkey" PRIMARY KEY ("id")
);
