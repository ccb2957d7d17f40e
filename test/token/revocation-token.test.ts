import t from 'tap'
import { outcomeOf, refresh } from '../support/refresh-fixtures.js'
import { build, password, restart, type Running } from '../support/server.js'

const newSecret = () => `a secret for this test alone ${crypto.randomUUID()}`
const old = newSecret()
const running = await build(t, { authSecret: old })

interface Tokens {
  access_token: string
  refresh_token: string
  revocation_token: string
}

async function begin({ url }: Running): Promise<Tokens> {
  const response = await fetch(`${url}/api/auth/sign-up/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'token-transport': 'body' },
    body: JSON.stringify({ name: 'Ada', email: `${crypto.randomUUID()}@example.com`, password })
  })
  return ((await response.json()) as { tokens: Tokens }).tokens
}

const revoke = async ({ url }: Running, token: string) =>
  (await fetch(`${url}/oauth2/revoke`, { method: 'POST', body: new URLSearchParams({ token }) }))
    .status

const stateOf = async ({ url }: Running, token: string) =>
  (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${token}` } })).status

const bytes = (token: string) => Buffer.from(token.slice(5), 'base64url')

t.test('it ends its own session, and no other', async (t) => {
  const [mine, other] = [await begin(running), await begin(running)]
  const { body: next } = await refresh(running.url, mine.refresh_token)
  t.equal((next as unknown as Tokens).revocation_token, mine.revocation_token, 'it stays the same')
  t.equal(await revoke(running, mine.revocation_token), 200)
  t.equal(await stateOf(running, mine.access_token), 401)
  t.equal(
    outcomeOf(await refresh(running.url, next.refresh_token)),
    '400 invalid_grant session_revoked'
  )
  t.equal(await revoke(running, mine.revocation_token), 200, 'again')
  t.equal(await stateOf(running, other.access_token), 200)
})

t.test('it is good for nothing else', async (t) => {
  const mine = await begin(running)
  t.equal(await stateOf(running, mine.revocation_token), 401)
  t.equal(
    outcomeOf(await refresh(running.url, mine.revocation_token)),
    '400 invalid_grant refresh_malformed'
  )
  t.equal(await stateOf(running, mine.access_token), 200)
})

t.test('one that was changed or invented ends nothing', async (t) => {
  const [mine, other] = [await begin(running), await begin(running)]
  const forged = [
    Buffer.concat([
      bytes(mine.revocation_token).subarray(0, 16),
      bytes(other.revocation_token).subarray(16)
    ]),
    Buffer.concat([bytes(mine.revocation_token).subarray(0, 20), Buffer.alloc(16)]),
    Buffer.concat([
      bytes(mine.revocation_token).subarray(0, 20),
      bytes(mine.refresh_token).subarray(56, 72)
    ])
  ]
  for (const text of forged)
    t.equal(await revoke(running, `hrv1_${text.toString('base64url')}`), 200)
  t.equal(await stateOf(running, mine.access_token), 200)
  t.equal(await stateOf(running, other.access_token), 200)
})

t.test('it outlives a change of the secret while the old one is known', async (t) => {
  const mine = await begin(running)
  const after = await restart(t, running, { authSecret: newSecret(), authSecretPrevious: [old] })
  t.equal(await revoke(after, mine.revocation_token), 200)
  t.match(outcomeOf(await refresh(after.url, mine.refresh_token)), 'session_revoked')
})
