import t from 'tap'
import { newAdmin } from '../support/device.js'
import { accessTokenOf, outcomeOf, refresh } from '../support/refresh-fixtures.js'
import {
  build,
  password,
  sessionState,
  signIn,
  signUp,
  start,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { until } from '../support/poll.js'

const secret = 'a-secret-of-the-gateway-in-this-test'
const running = await build(t, { gatewayClients: [`edge:${secret}`] })
const { url } = running

/** The code with which each way of checking refuses a user's session. */
async function causes({ url }: Running, person: Person): Promise<string[]> {
  const token = await accessTokenOf({ app: running.app }, person.sessionId)
  const all: string[] = []
  for (const authorization of [`Bearer ${person.bearer}`, `Bearer ${token}`]) {
    const response = await fetch(`${url}/session`, { headers: { authorization } })
    all.push(`${response.status} ${((await response.json()) as { cause: string }).cause}`)
    const verified = await fetch(`${url}/verify`, { headers: { authorization } })
    all.push(
      `${verified.status} ${/error_description="(\w+)"/.exec(verified.headers.get('www-authenticate') ?? '')?.[1]}`
    )
  }
  const batch = await fetch(`${url}/sessions/check`, {
    method: 'POST',
    body: JSON.stringify({ tokens: [person.bearer, token] }),
    headers: {
      authorization: `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`,
      'content-type': 'application/json'
    }
  })
  const { results } = (await batch.json()) as { results: { active: boolean; cause: string }[] }
  for (const { cause } of results) all.push(`401 ${cause}`)
  return all
}

async function tokensFor({ email }: Person): Promise<string> {
  const response = await fetch(`${url}/api/auth/sign-in/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'token-transport': 'body' },
    body: JSON.stringify({ email, password })
  })
  return ((await response.json()) as { tokens: { refresh_token: string } }).tokens.refresh_token
}

t.test('P13: a banned person is told so, and a deleted one, by every layer', async (t) => {
  const admin = await newAdmin(running)
  const [banned, removed, deleted] = [await signUp(url), await signUp(url), await signUp(url)]
  const bannedPhone = await signIn(url, banned.email)
  const [ofBanned, ofRemoved] = [await tokensFor(banned), await tokensFor(removed)]
  t.match(await admin.client.admin.banUser({ userId: banned.id }), { error: null })
  t.match(await admin.client.admin.removeUser({ userId: removed.id }), { error: null })
  t.equal((await deleted.browser.post('/api/auth/delete-user', { password })).status, 200)
  const signedOut = await signIn(url, admin.email)
  const stolen = new Map(signedOut.browser.cookies)
  await signedOut.browser.post('/api/auth/sign-out')
  for (const [name, value] of stolen) signedOut.browser.cookies.set(name, value)

  // Each has caches of its own, or none.
  const others =
    storage === 'embedded'
      ? []
      : [await start(t, { ...running.options, port: undefined, baseUrl: url, localCache: false })]
  for (const node of [running, ...others]) {
    for (let round = 0; round < 2; round++) {
      for (const person of [banned, bannedPhone])
        t.strictSame(new Set(await causes(node, person)), new Set(['401 user_banned']))
      for (const person of [removed, deleted])
        t.strictSame(new Set(await causes(node, person)), new Set(['401 user_gone']))
      t.strictSame(
        new Set(await causes(node, signedOut)),
        new Set(['401 session_revoked']),
        'a sign-out keeps its own cause'
      )
    }
  }
  t.equal(outcomeOf(await refresh(url, ofBanned)), '400 invalid_grant user_banned')
  t.equal(outcomeOf(await refresh(url, ofRemoved)), '400 invalid_grant user_gone')

  t.match(await admin.client.admin.unbanUser({ userId: banned.id }), { error: null })
  t.equal(
    await sessionState(banned.browser),
    '401 user_banned',
    'the cause stays after the ban is lifted'
  )
  t.equal(await sessionState((await signIn(url, banned.email)).browser), 'valid')
})

t.test(
  "P13: a banned administrator's impersonation is told that the session has ended",
  async (t) => {
    const [chief, admin] = [await newAdmin(running), await newAdmin(running)]
    const ada = await signUp(url)
    const own = new Map(admin.browser.cookies)
    t.match(await admin.client.admin.impersonateUser({ userId: ada.id }), { error: null })
    t.match(await chief.client.admin.banUser({ userId: admin.id }), { error: null })
    t.equal(
      await sessionState(admin.browser),
      '401 session_revoked',
      'the answer does not say that the impersonated user was banned'
    )
    for (const [name, value] of own) admin.browser.cookies.set(name, value)
    t.equal(await sessionState(admin.browser), '401 user_banned')
    t.equal(await sessionState(ada.browser), 'valid')
  }
)

t.test('P13: a ban and a deletion that were written by hand say so as well', async () => {
  const { prisma } = running.app.holdfast
  const [banned, deleted] = [await signUp(url), await signUp(url)]
  await prisma.user.update({ where: { id: banned.id }, data: { banned: true } })
  await prisma.user.delete({ where: { id: deleted.id } })
  await until(
    'the ban to be heard of',
    async () => (await sessionState(banned.browser)) === '401 user_banned'
  )
  await until(
    'the deletion to be heard of',
    async () => (await sessionState(deleted.browser)) === '401 user_gone'
  )
})
