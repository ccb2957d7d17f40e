// Generates the Prisma client into prisma/generated. `prisma generate` uses no engine, but insists
// on finding one and would download it; any existing file satisfies it, so it is shown this Node
// binary.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const prisma = fileURLToPath(import.meta.resolve('prisma/build/index.js'))
const schema = fileURLToPath(new URL('./schema.prisma', import.meta.url))
const { status, stdout, stderr } = spawnSync(
  process.execPath,
  [prisma, 'generate', '--schema', schema, '--no-hints'],
  {
    encoding: 'utf8',
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' }
  }
)
if (status !== 0) {
  process.stderr.write(`${stdout}${stderr}`)
  process.exit(status ?? 1)
}
