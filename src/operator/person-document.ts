import type { ExportPage, RecordKind } from '../user/person-export.js'

/** A page of an export, with whose it is. */
export interface PersonPage extends ExportPage {
  userId: string
}

/**
 * Writes an export as one JSON document, page by page as they come: `user` is an object, every
 * other kind a list. It holds no more than a page.
 *
 * @param write resolves when more can be taken
 */
export async function writePersonDocument(
  pages: AsyncIterable<PersonPage>,
  exportedAt: Date,
  write: (text: string) => Promise<void>
): Promise<void> {
  let open: RecordKind | null = null
  let isBegun = false
  const closing = () => (open === null || open === 'user' ? '' : '\n]')
  for await (const { userId, records } of pages) {
    // What is refused at the first page leaves nothing behind.
    if (!isBegun)
      await write(
        `{\n"id": ${JSON.stringify(userId)},\n"exportedAt": ${JSON.stringify(exportedAt)}`
      )
    isBegun = true
    for (const { kind, record } of records) {
      const text = JSON.stringify(record)
      await write(
        kind === open
          ? `,\n  ${text}`
          : `${closing()},\n${JSON.stringify(kind)}: ${kind === 'user' ? text : `[\n  ${text}`}`
      )
      open = kind
    }
  }
  await write(`${closing()}\n}\n`)
}
