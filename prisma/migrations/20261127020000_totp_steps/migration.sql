-- The time step of the last code that was accepted: each counts once (RFC 6238 5.2). Nodes that do not know the column yet go on without it.
ALTER TABLE "two_factor" ADD COLUMN "lastUsedStep" INTEGER;
