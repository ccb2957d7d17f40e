/** How the pages for people look inside an application. */
export interface PagesOptions {
  /**
   * Puts a page into the application's own document. Without it a page is a document of its own.
   *
   * @param html what the page shows, in an element of the class `holdfast`
   * @returns the whole document
   */
  layout?: ((html: string, details: PageDetails) => string) | undefined
  /** Whether there are pages for administrators, below `/admin`. Off by default. */
  admin?: boolean | undefined
}

/** What a layout is told about a page. */
export interface PageDetails {
  /** The title of the page, as text. Escape it. */
  title: string
  /** The language of the page, for `lang`. */
  language: string
  /** The addresses of Holdfast's style sheets, for `<link rel="stylesheet">`. */
  styleSheets: readonly string[]
  /** The address of Holdfast's script, for `<script src defer>`. Pages work without it. */
  script: string
}
