import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { RefusedPage } from '../refused-page.js'
import { requireAdministrator } from './administrator.js'

/** A user, as `admin/list-users` and `admin/get-user` show them. */
export interface UserShown {
  id: string
  name: string
  email: string
  emailVerified: boolean
  image: string | null
  role: string | null
  banned: boolean | null
  banReason: string | null
  banExpires: string | null
  twoFactorEnabled: boolean | null
  createdAt: string
}

interface UserList {
  users: UserShown[]
  total: number
}

/** How many users a page shows. */
const LIMIT = 50

/** `/admin` and `/admin/users`: find a user by e-mail address, name or id. */
export function addUsers(routes: PageRoutes): void {
  routes.page('/admin', 'session', (page) => page.go('/admin/users'))
  routes.page('/admin/users', 'recent', showUsers)
}

async function showUsers(page: Page): Promise<void> {
  if (!requireAdministrator(page)) return
  const { t } = page
  const wanted = (page.query('q') ?? '').trim()
  const offset = Math.max(0, Math.trunc(Number(page.query('offset') ?? 0)) || 0)
  const { users, more, total } = await findUsers(page, wanted, offset)
  page.show({
    title: t.admin.users,
    children: (
      <>
        <form method="get" action={page.path('/admin/users')} role="search" class="search">
          <div class="field">
            <label for="q">{t.admin.searchLabel}</label>
            <input id="q" name="q" type="search" value={wanted} autofocus />
          </div>
          <button type="submit">{t.admin.search}</button>
        </form>
        {users.length === 0 ? <p>{t.admin.none}</p> : null}
        {total === null ? null : <p class="hint">{t.admin.found({ count: total })}</p>}
        <ul class="cards">
          {users.map((user) => (
            <li class="card">
              <p>
                <a href={page.path(`/admin/users/${encodeURIComponent(user.id)}`)}>
                  <strong>{user.email}</strong>
                </a>
                {user.banned ? <span class="badge wrong">{t.admin.banned}</span> : null}
                {rolesOf(user).map((role) => (
                  <span class="badge">{role}</span>
                ))}
              </p>
              <p class="hint">{user.name}</p>
            </li>
          ))}
        </ul>
        {more ? (
          <p>
            <a
              href={page.path('/admin/users', {
                q: wanted || undefined,
                offset: String(offset + LIMIT)
              })}
            >
              {t.admin.more}
            </a>
          </p>
        ) : null}
      </>
    )
  })
}

interface FoundUsers {
  users: UserShown[]
  /** How many there are in all. Null for a search. */
  total: number | null
  more: boolean
}

/** Looks for an id where the text may be one, and for addresses and names that contain it. */
async function findUsers(page: Page, wanted: string, offset: number): Promise<FoundUsers> {
  const list = async (query: Record<string, string>) => {
    const answer = await page.api.get<UserList>('/api/auth/admin/list-users', {
      limit: String(LIMIT),
      offset: String(offset),
      sortBy: 'createdAt',
      sortDirection: 'desc',
      ...query
    })
    if (answer.status !== 200) throw new RefusedPage(answer)
    return answer.body
  }
  if (wanted === '') {
    const { users, total } = await list({})
    return { users, total, more: offset + users.length < total }
  }
  const byId = /^[\w-]{20,64}$/.test(wanted)
    ? await page.api.get<UserShown>('/api/auth/admin/get-user', { id: wanted })
    : null
  if (byId?.status === 200 && byId.body.id) return { users: [byId.body], total: null, more: false }
  const search = (searchField: string) =>
    list({ searchField, searchOperator: 'contains', searchValue: wanted })
  const [byEmail, byName] = await Promise.all([search('email'), search('name')])
  const found = new Map([...byEmail.users, ...byName.users].map((user) => [user.id, user]))
  const most = Math.max(byEmail.total, byName.total)
  return { users: [...found.values()], total: null, more: offset + LIMIT < most }
}

export function rolesOf({ role }: Pick<UserShown, 'role'>): string[] {
  return (role ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
}
