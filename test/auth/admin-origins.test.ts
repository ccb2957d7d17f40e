import t from 'tap'
import { build, signUp, type Person, type Running } from '../support/server.js'

const app = 'https://app.example.com'
const desk = 'https://desk.example.com'

async function administrator({ app: { holdfast }, url }: Running): Promise<Person> {
  const person = await signUp(url)
  await holdfast.auth.users.update(person.id, { role: 'admin' })
  return person
}

t.test('a cookie administers only from our own pages and ADMIN_ORIGINS', async (t) => {
  const running = await build(t, { trustedOrigins: [app, desk], adminOrigins: [desk] })
  const { browser, id } = await administrator(running)
  const list = (headers: Record<string, string>) =>
    browser.get('/api/auth/admin/list-users', headers)
  const refused: Record<string, string>[] = [
    { origin: app },
    { origin: app, 'sec-fetch-site': 'same-origin' },
    { origin: app, 'sec-fetch-site': 'same-site' }
  ]
  for (const headers of refused) {
    const response = await list(headers)
    t.equal(response.status, 403, JSON.stringify(headers))
    t.match(await response.json(), { cause: 'origin_refused' })
  }
  const ban = await browser.post(
    '/api/auth/admin/ban-user',
    { userId: (await signUp(running.url)).id },
    { origin: app }
  )
  t.equal(ban.status, 403)
  t.equal(await running.app.holdfast.prisma.user.count({ where: { banned: true } }), 0)
  const allowed: Record<string, string>[] = [
    { origin: running.url },
    { origin: desk },
    { origin: running.url, 'sec-fetch-site': 'same-origin' },
    { origin: '', 'sec-fetch-site': 'none' },
    { origin: '' }
  ]
  for (const headers of allowed) t.equal((await list(headers)).status, 200, JSON.stringify(headers))
  const may = await browser.post(
    '/api/auth/admin/has-permission',
    { userId: id, permissions: { user: ['list'] } },
    { origin: app }
  )
  t.equal(may.status, 200, 'what one may do is no administration')
})

t.test('a session token administers wherever it is sent from', async (t) => {
  const running = await build(t, { trustedOrigins: [app] })
  const { bearer } = await administrator(running)
  const response = await fetch(`${running.url}/api/auth/admin/list-users`, {
    headers: { authorization: `Bearer ${bearer}`, origin: app }
  })
  t.equal(response.status, 200)
})
