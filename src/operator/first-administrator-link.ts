import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { offerFirstAdministrator } from '../auth/first-administrator.js'
import type { Holdfast } from '../holdfast.js'

/**
 * Makes a link for the first administrator.
 *
 * @returns null where there is an administrator
 */
export async function firstAdministratorLink({
  prisma,
  config,
  prefix
}: Holdfast): Promise<string | null> {
  const token = await offerFirstAdministrator(prisma)
  return token === null ? null : `${config.baseUrl}${prefix}/admin/first?token=${token}`
}

/** The file in DATA_DIR that has the link of the last start. */
const FILE = 'first-administrator-link'

/**
 * Makes a link, and writes it to a file in DATA_DIR that only the server's user may read. It is
 * never logged: whoever reads it becomes the administrator. Once there is an administrator, the file
 * is removed.
 *
 * @returns the path of the file, and the link; null where there is an administrator
 * @throws Error where the file cannot be written
 */
export async function writeFirstAdministratorLink(
  holdfast: Holdfast
): Promise<{ path: string; link: string } | null> {
  const path = resolve(join(holdfast.config.dataDir, FILE))
  const link = await firstAdministratorLink(holdfast)
  if (link === null) {
    rmSync(path, { force: true })
    return null
  }
  // A new file, because an old one would keep its mode.
  rmSync(`${path}.new`, { force: true })
  writeFileSync(`${path}.new`, `${link}\n`, { mode: 0o600, flag: 'wx' })
  renameSync(`${path}.new`, path)
  return { path, link }
}
