/** The paths of the pages that a server has. */
export class PagePaths {
  readonly #paths: (readonly string[])[] = []

  /** @param path a part that differs is a name behind `:` */
  add(path: string): void {
    this.#paths.push(path.split('/'))
  }

  has(path: string): boolean {
    const parts = path.split('/')
    return this.#paths.some(
      (known) =>
        known.length === parts.length &&
        known.every((part, i) => (part.startsWith(':') ? parts[i] !== '' : parts[i] === part))
    )
  }
}
