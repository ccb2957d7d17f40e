import { Browser } from './server.js'

/** A page as a browser without script gets it. */
export interface ShownPage {
  status: number
  /** Where a redirect leads: a path, or a whole address of another origin. */
  location: string | null
  html: string
  headers: Headers
}

/** A browser that opens pages and sends their forms, as one without script does. */
export class PageBrowser extends Browser {
  async open(path: string, headers: Record<string, string> = {}): Promise<ShownPage> {
    return toPage(await this.fetch(path, { headers: { accept: 'text/html', ...headers } }))
  }

  /**
   * Opens a page, and sends the form on it whose action is `action`.
   *
   * @param action the path of the form; that of the page by default
   */
  async submit(
    path: string,
    fields: Record<string, string>,
    { action = path, headers = {} }: { action?: string; headers?: Record<string, string> } = {}
  ): Promise<ShownPage> {
    const { html, status } = await this.open(path)
    const hidden = hiddenFields(html, action)
    if (!hidden) throw new Error(`${path} answered ${status} without a form for ${action}: ${html}`)
    return this.send(action, { ...hidden, ...fields }, headers)
  }

  /** Sends a form, whatever is on the page. */
  async send(
    action: string,
    fields: Record<string, string>,
    headers: Record<string, string> = {}
  ): Promise<ShownPage> {
    return toPage(
      await this.fetch(action, {
        method: 'POST',
        body: new URLSearchParams(fields).toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
      })
    )
  }
}

async function toPage(response: Response): Promise<ShownPage> {
  return {
    status: response.status,
    location: response.headers.get('location'),
    html: await response.text(),
    headers: response.headers
  }
}

/** The hidden fields of the form with an action. Null where there is no such form. */
export function hiddenFields(html: string, action: string): Record<string, string> | null {
  for (const [, attributes = '', inner = ''] of html.matchAll(
    /<form([^>]*method="post"[^>]*)>(.*?)<\/form>/gs
  )) {
    if (decodeEntities(/ action="([^"]*)"/.exec(attributes)?.[1] ?? '') !== action) continue
    const fields = [...inner.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)]
    return Object.fromEntries(
      fields.map(([, name = '', value = '']) => [name, decodeEntities(value)])
    )
  }
  return null
}

/** The text of an attribute. */
export function decodeEntities(text: string): string {
  return text
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}
