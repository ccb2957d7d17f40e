import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import {
  bindMigrationAwareSqlAdapterFactory,
  type SqlMigrationAwareDriverAdapterFactory
} from '@prisma/driver-adapter-utils'
import type { SchemaEngine, SchemaFilter } from '@prisma/schema-engine-wasm'
import type * as Bindings from '@prisma/schema-engine-wasm/schema_engine_bg'

const root = new URL('../../../', import.meta.url)

/** The schema that the migrations lead to. */
export const schemaPath = fileURLToPath(new URL('prisma/schema.prisma', root))

export const noFilter: SchemaFilter = { externalTables: [], externalEnums: [] }

let loaded: Promise<typeof Bindings> | null = null

/**
 * Prisma's own schema engine in its WebAssembly form, on a driver adapter. It is what `prisma
 * migrate` runs, without the native binary that it downloads, and with the same
 * `_prisma_migrations` table.
 */
export async function openSchemaEngine(
  adapter: SqlMigrationAwareDriverAdapterFactory
): Promise<SchemaEngine> {
  loaded ??= loadBindings()
  const bindings = await loaded
  const schema = await readFile(schemaPath, 'utf8')
  return bindings.SchemaEngine.new(
    { datamodels: [[schemaPath, schema]] },
    () => {},
    bindMigrationAwareSqlAdapterFactory(adapter)
  )
}

// The package is made for bundlers, so its module is instantiated here, and only once, because its
// glue code holds one instance.
async function loadBindings(): Promise<typeof Bindings> {
  const bindings = await import('@prisma/schema-engine-wasm/schema_engine_bg')
  const wasm = await readFile(
    new URL('./schema_engine_bg.wasm', import.meta.resolve('@prisma/schema-engine-wasm'))
  )
  const instance = await WebAssembly.instantiate(await WebAssembly.compile(new Uint8Array(wasm)), {
    './schema_engine_bg.js': importsOf(bindings)
  })
  bindings.__wbg_set_wasm(instance.exports)
  const start = instance.exports['__wbindgen_start'] as () => void
  start()
  return bindings
}

// The engine never clears the timer of its lock, which would keep the process alive for ten seconds
// after the work.
function importsOf(bindings: typeof Bindings): WebAssembly.ModuleImports {
  const imports = { ...bindings } as unknown as Record<string, (...args: unknown[]) => unknown>
  for (const [name, set] of Object.entries(imports)) {
    if (name.startsWith('__wbg_setTimeout_'))
      imports[name] = (...args) => (set(...args) as NodeJS.Timeout).unref()
  }
  return imports
}
