import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { NextPage } from '../parts.js'

/** A user, as `admin/get-user` shows them. */
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

/** A user in a list, as `admin/find-users` shows them. */
interface FoundUser {
  id: string
  name: string
  email: string
  roles: string[]
  banned: boolean
}

/** A page of such users. */
export interface FoundUsers {
  users: FoundUser[]
  next: string | null
}

/** How many users a page shows. */
const LIMIT = '50'

/** `/admin` and `/admin/users`: find a user by e-mail address, name or id. */
export function addUsers(routes: PageRoutes): void {
  routes.page('/admin', 'session', (page) => page.go('/admin/users'))
  routes.page('/admin/users', 'administrator', showUsers)
}

async function showUsers(page: Page): Promise<void> {
  const { t } = page
  const wanted = (page.query('q') ?? '').trim().slice(0, 256)
  const after = page.query('after')
  const { users, next } = await page.api.read<FoundUsers>('/api/auth/admin/find-users', {
    limit: LIMIT,
    q: wanted,
    after
  })
  page.show({
    title: t.admin.users,
    children: (
      <>
        <form method="get" action={page.path('/admin/users')} role="search" class="search">
          <div class="field">
            <label for="q">{t.admin.searchLabel}</label>
            <input id="q" name="q" type="search" value={wanted} maxlength={256} autofocus />
          </div>
          <button type="submit">{t.admin.search}</button>
        </form>
        {users.length === 0 ? <p>{t.admin.none}</p> : null}
        <ul class="cards">
          {users.map((user) => (
            <li class="card">
              <p>
                <a href={page.path(`/admin/users/${encodeURIComponent(user.id)}`)}>
                  <strong>{user.email}</strong>
                </a>
                {user.banned ? <span class="badge wrong">{t.admin.banned}</span> : null}
                {user.roles.map((role) => (
                  <span class="badge">{role}</span>
                ))}
              </p>
              <p class="hint">
                <bdi>{user.name}</bdi>
              </p>
            </li>
          ))}
        </ul>
        <NextPage next={next} label={t.admin.more} />
      </>
    )
  })
}

export function rolesOf({ role }: Pick<UserShown, 'role'>): string[] {
  return (role ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
}
