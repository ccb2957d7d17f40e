import type { Page } from '../page.js'
import { RefusedPage } from '../refused-page.js'

/**
 * The API decides about everything that is shown and done: this only says it on a page of its own.
 *
 * @throws RefusedPage 403 for anybody but an administrator
 */
export function requireAdministrator(page: Page): void {
  if (!page.me?.user.roles.includes('admin'))
    throw new RefusedPage({ status: 403, code: 'role_missing' })
}
