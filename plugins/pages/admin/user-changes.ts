import { toHandle } from '../../../src/session/session-token.js'
import type { ApiAnswer } from '../api-client.js'
import type { Fields } from '../forms.js'
import type { Page } from '../page.js'
import type { Problem } from '../problem.js'

interface Change {
  /** The last part of the form's path. */
  name: string
  /** The text that says that it was done. */
  notice: 'saved' | 'ended' | 'passwordSent'
  /** The changes of the API that the form asks for. A problem keeps them from being made. */
  change: (page: Page, fields: Fields, userId: string) => Promise<ApiAnswer<object> | Problem>
  /** The field that each code of the API is about. */
  fields?: Record<string, string>
  /** Whether it is there only while mails are sent. */
  mails?: true
}

/** What an administrator may do to a user: one form for each, and one call of the API. */
export const changes: readonly Change[] = [
  {
    name: 'roles',
    notice: 'saved',
    async change(page, fields, userId) {
      const roles = fields('roles')
        .split(',')
        .map((role) => role.trim())
        .filter((role) => role !== '')
      const answer = await page.api.post('/api/auth/admin/set-role', {
        userId,
        role: roles.length === 0 ? ['user'] : roles
      })
      if (answer.status !== 400) return answer
      return {
        status: 400,
        message: page.t.wrongFields,
        fields: { roles: page.t.admin.roleWrong }
      }
    }
  },
  { name: 'ban', notice: 'saved', change: ban },
  {
    name: 'unban',
    notice: 'saved',
    change: (page, _fields, userId) => page.api.post('/api/auth/admin/unban-user', { userId })
  },
  {
    name: 'end-session',
    notice: 'ended',
    change: (page, fields) =>
      page.api.post('/api/auth/admin/revoke-user-session', {
        sessionToken: toHandle(fields('session'))
      })
  },
  {
    name: 'end-sessions',
    notice: 'ended',
    change: (page, _fields, userId) =>
      page.api.post('/api/auth/admin/revoke-user-sessions', { userId })
  },
  {
    name: 'send-password',
    notice: 'passwordSent',
    mails: true,
    change: (page, _fields, userId) =>
      page.api.post('/api/auth/admin/send-password-reset', { userId })
  }
]

async function ban(
  page: Page,
  fields: Fields,
  userId: string
): Promise<ApiAnswer<object> | Problem> {
  const until = fields('until')
  const ends = until === '' ? null : Date.parse(`${until}Z`)
  const seconds = ends === null ? null : Math.ceil((ends - Date.now()) / 1_000)
  if (seconds !== null && !(seconds > 0))
    return {
      status: 400,
      message: page.t.wrongFields,
      fields: { until: page.t.admin.banUntilWrong }
    }
  const reason = fields('reason').trim()
  return page.api.post('/api/auth/admin/ban-user', {
    userId,
    ...(reason === '' ? {} : { banReason: reason }),
    ...(seconds === null ? {} : { banExpiresIn: seconds })
  })
}
