import type { Page } from '../page.js'
import { RefusedPage } from '../refused-page.js'

/**
 * Whether an administrator looks at the page. The API decides about everything that is shown and
 * done: this only says it on a page of its own.
 *
 * @throws RefusedPage for anybody else
 */
export function requireAdministrator(page: Page): boolean {
  if (page.me?.user.roles.includes('admin')) return true
  throw new RefusedPage({ status: 403, code: 'role_missing', retryAfterSeconds: null })
}
