/**
 * The page that is wanted: at most `limit`, after the id `after`, with which the page before ended.
 */
export interface PageWanted {
  limit: number
  after?: string | undefined
}

/** A page of a list. */
export interface PageOf<T> {
  page: T[]
  /** The id to continue after. Null at the end. */
  next: string | null
}

/** Reads a page, and one more row, which tells whether there is a next page. */
export async function readPage<T extends { id: string }>(
  { limit, after }: PageWanted,
  read: (wanted: PageWanted) => Promise<readonly T[]>
): Promise<PageOf<T>> {
  const found = await read({ limit: limit + 1, after })
  const page = found.slice(0, limit)
  return { page, next: found.length > limit ? (page.at(-1)?.id ?? null) : null }
}
