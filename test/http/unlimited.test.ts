import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import t from 'tap'
import { statementName } from '../../src/database/direct.js'
import { openPostgres } from '../../src/database/postgres.js'
import { limits } from '../../src/limits.js'
import { RecentAnswer } from '../../src/recent-answer.js'
import { mintSessionToken } from '../../src/session/session-token.js'
import { accessTokenOf } from '../support/refresh-fixtures.js'
import {
  build,
  freshStore,
  password,
  sessionState,
  signIn,
  signUp,
  storage,
  type Running
} from '../support/server.js'
import { counting } from '../support/count.js'

const running = await build(t, { rateLimit: true })
const { url } = running

const revoke = async (token: string, { url }: Pick<Running, 'url'> = running) => {
  const response = await fetch(`${url}/oauth2/revoke`, {
    method: 'POST',
    body: new URLSearchParams({ token })
  })
  await response.text()
  return response
}

t.test(
  'S27: a token that cannot be ours costs no query, and none is revoked without limit',
  async (t) => {
    const ada = await signUp(url)
    const [phone, tablet] = [await signIn(url, ada.email), await signIn(url, ada.email)]
    const tokens = await tokensFor(ada.email)
    const access = await accessTokenOf(running, ada.sessionId)
    const madeUp = [
      'made-up',
      'x'.repeat(200),
      `hrt1_${randomBytes(60).toString('base64url')}`,
      `hst1_${randomBytes(54).toString('base64url')}`,
      `${mintSessionToken().token}.${randomBytes(32).toString('base64url')}x`.slice(0, 20),
      `${tokens.refresh_token}x`,
      `${access}x`,
      `${access.split('.').slice(0, 2).join('.')}.${randomBytes(64).toString('base64url')}`
    ]
    for (const token of madeUp) {
      const { queries } = await counting(async () => {
        t.equal((await revoke(token)).status, 200, 'RFC 7009: the answer is 200')
      })
      t.equal(queries, 0, token)
    }
    // Only the store can tell these from a token without its signature, so they are looked up, and
    // counted.
    let answer = await revoke(mintSessionToken().token)
    for (
      let i = madeUp.length;
      i < limits.revocationByAddress.max + 5 && answer.status === 200;
      i++
    )
      answer = await revoke(mintSessionToken().token)
    t.equal(answer.status, 429)
    t.ok(Number(answer.headers.get('retry-after')) > 0)
    const { queries } = await counting(async () => {
      t.equal((await revoke(mintSessionToken().token)).status, 429)
    })
    t.equal(queries, 0, 'a client past its limit causes no query')

    t.equal(
      (await revoke(decodeURIComponent(tablet.bearer))).status,
      200,
      'a valid token is never limited'
    )
    t.equal(await sessionState(tablet.browser), '401 session_revoked')
    t.equal((await revoke(tokens.refresh_token)).status, 200)
    t.equal((await revoke(await accessTokenOf(running, phone.sessionId))).status, 200)
    t.equal(await sessionState(phone.browser), '401 session_revoked')
    t.equal(await sessionState(ada.browser), 'valid')
  }
)

async function tokensFor(email: string): Promise<{ refresh_token: string }> {
  const response = await fetch(`${url}/api/auth/sign-in/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'token-transport': 'body' },
    body: JSON.stringify({ email, password })
  })
  return ((await response.json()) as { tokens: { refresh_token: string } }).tokens
}

t.test(
  'S27: a session token without its signature ends its session, and is not counted',
  async (t) => {
    const quiet = await build(t, {
      rateLimit: true,
      ...(storage === 'embedded' ? {} : { redisUrl: undefined })
    })
    const ada = await signUp(quiet.url)
    const { max } = limits.revocationByAddress
    for (let i = 0; i < max - 1; i++) await revoke('made-up', quiet)
    for (let i = 0; i < 2; i++) {
      const phone = await signIn(quiet.url, ada.email)
      t.equal(
        (await revoke(decodeURIComponent(phone.bearer).split('.', 1)[0] ?? '', quiet)).status,
        200
      )
      t.equal(await sessionState(phone.browser), '401 session_revoked')
    }
    t.equal((await revoke('made-up', quiet)).status, 200)
    t.equal((await revoke('made-up', quiet)).status, 429)
  }
)

const hours = (count: number) => ({ exp: Math.floor(Date.now() / 1000) - count * 3_600 })

t.test(
  'S27: an access token ends its session for some hours after it has expired, and no longer',
  async (t) => {
    for (const [expired, state] of [
      [1, '401 session_revoked'],
      [11, '401 session_revoked'],
      [13, 'valid'],
      [24 * 365, 'valid']
    ] as const) {
      for (const way of ['revoke', 'sign-out']) {
        const ada = await signUp(url)
        const token = await accessTokenOf(running, ada.sessionId, hours(expired))
        if (way === 'revoke')
          t.match((await revoke(token)).status, state === 'valid' ? /200|429/ : 200)
        else
          await (
            await fetch(`${url}/api/auth/sign-out`, {
              method: 'POST',
              headers: { authorization: `Bearer ${token}` }
            })
          ).text()
        t.equal(await sessionState(ada.browser), state, `${way}, expired for ${expired} hours`)
        const shown = await fetch(`${url}/api/auth/get-session`, {
          headers: { authorization: `Bearer ${token}` }
        })
        t.match(
          await shown.json(),
          { cause: 'token_expired' },
          'the client still learns that the token has expired'
        )
      }
    }
  }
)

const askReady = () =>
  Promise.all(Array.from({ length: 50 }, async () => (await fetch(`${url}/health/ready`)).status))

t.test(
  'S27: all who ask whether the server is ready share one question to the store, half a second old at most',
  async (t) => {
    const began = performance.now()
    const { queries } = await counting(async () => {
      for (let i = 0; i < 2; i++) t.strictSame(new Set(await askReady()), new Set([200]))
    })
    // One round is two statements.
    t.ok(queries <= 2 * (1 + Math.ceil((performance.now() - began) / 500)), `${queries} queries`)

    let now = 0
    let asked = 0
    const recent = new RecentAnswer(
      500,
      async () => {
        if (++asked === 2) throw new Error('no answer')
        return asked
      },
      () => now
    )
    t.strictSame(await Promise.all([recent.ask(), recent.ask()]), [1, 1])
    now = 499
    t.equal(await recent.ask(), 1)
    now = 500
    for (let i = 0; i < 2; i++)
      await t.rejects(recent.ask(), { message: 'no answer' }, 'all callers get the failure')
    now = 1_000
    t.equal(await recent.ask(), 3)
  }
)

t.test(
  'S26: a prepared statement is named by its text, whatever was asked before it',
  { skip: storage === 'embedded' && 'it has no connections' },
  async (t) => {
    const { databaseUrl = '' } = await freshStore(t)
    const texts = new Map<string, Set<string>>()
    const prototype = Client.prototype as unknown as {
      query: (this: void, ...args: unknown[]) => unknown
    }
    const original = prototype.query
    t.teardown(() => {
      prototype.query = original
    })
    prototype.query = function (this: unknown, ...args: unknown[]) {
      const { name, text = '' } = (args[0] ?? {}) as { name?: string; text?: string }
      if (name !== undefined && /^SELECT \d AS "/.test(text))
        texts.set(name, (texts.get(name) ?? new Set()).add(text))
      return Reflect.apply(original, this, args)
    }
    // As two processes that ask in different orders.
    for (const order of [
      [1, 2, 3],
      [3, 1, 2]
    ]) {
      const database = openPostgres({
        databaseUrl,
        poolSize: 2,
        connectTimeoutMs: 5_000,
        preparedStatements: 'on',
        onError: () => {}
      })
      const { prisma } = database
      for (const n of order)
        await (n === 1
          ? prisma.$queryRaw`SELECT 1 AS "one"`
          : n === 2
            ? prisma.$queryRaw`SELECT 2 AS "two"`
            : prisma.$queryRaw`SELECT 3 AS "three"`)
      await database.close()
    }
    t.equal(texts.size, 3)
    for (const [name, [text = '', ...others]] of texts) {
      t.strictSame(others, [], name)
      t.equal(name, statementName(text))
      t.ok(name.length < 64, 'PostgreSQL would cut a longer name')
    }
  }
)
