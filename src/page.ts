/**
 * Which part of a list is wanted: at most `limit`, from behind `after`, the id with which the part
 * before it ended.
 */
export interface PageWanted {
  limit: number
  after?: string | undefined
}

/** A part of a list. */
export interface PageOf<T> {
  page: T[]
  /** Where the list goes on; null at its end. */
  next: string | null
}

/** Reads a part of a list, and one more, which tells whether the list goes on. */
export async function readPage<T extends { id: string }>(
  { limit, after }: PageWanted,
  read: (wanted: PageWanted) => Promise<readonly T[]>
): Promise<PageOf<T>> {
  const found = await read({ limit: limit + 1, after })
  const page = found.slice(0, limit)
  return { page, next: found.length > limit ? (page.at(-1)?.id ?? null) : null }
}
