import { chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** How many mails are kept. */
const KEPT = 500
/** The name of a mail: its time, kind and id. */
const MAIL_FILE = /^\d{8}T\d{9}Z-[a-z-]+-[A-Za-z0-9_-]+\.eml$/
const UNFINISHED = '.eml.tmp'

/** A folder with the newest mails, a file each. */
export class MailFolder {
  readonly path: string
  #opening: Promise<void> | null = null
  #pruning: Promise<void> = Promise.resolve()

  constructor(path: string) {
    this.path = path
  }

  /**
   * Writes a mail under another name first, so that a file is whole or not there.
   *
   * @param at milliseconds since 1970
   * @returns the path of the file
   */
  async write(mail: { id: string; kind: string; raw: Buffer }, at: number): Promise<string> {
    this.#opening ??= this.#open()
    await this.#opening.catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    const time = new Date(at).toISOString().replaceAll(/[-:.]/g, '')
    const path = join(this.path, `${time}-${mail.kind}-${mail.id}.eml`)
    const unfinished = join(this.path, `${time}-${mail.id}${UNFINISHED}`)
    await rm(unfinished, { force: true })
    await writeFile(unfinished, mail.raw, { mode: 0o600, flag: 'wx' })
    await rename(unfinished, path)
    this.#pruning = this.#pruning.then(() => this.#prune())
    await this.#pruning
    return path
  }

  /** Makes the folder, and removes what a process left behind that was killed while it wrote. */
  async #open(): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 })
    await chmod(this.path, 0o700)
    for (const name of await readdir(this.path))
      if (name.endsWith(UNFINISHED)) await rm(join(this.path, name), { force: true })
  }

  /** Removes all but the newest. A file that cannot be removed is tried again with the next mail. */
  async #prune(): Promise<void> {
    const names = await readdir(this.path).catch(() => [])
    const mails = names.filter((name) => MAIL_FILE.test(name)).toSorted()
    for (const name of mails.slice(0, Math.max(0, mails.length - KEPT)))
      await rm(join(this.path, name), { force: true }).catch(() => {})
  }
}
