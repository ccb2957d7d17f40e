import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/**
 * Makes a folder with files, for this run of the test alone. tap's own fixtures are shared by runs
 * of one file on several stores at once. It is removed when the test ends.
 */
export function makeFolder(t: Test, files: Record<string, string | Buffer>): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-files-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  return folder
}
