import t from 'tap'
import type { MailKind } from '../../src/mail/mail.js'
import { openMailbox } from '../support/mailbox.js'
import { ask, mailFor, newAddress, newProven, signUpAt } from '../support/mail-people.js'
import { until } from '../support/poll.js'
import { Browser, build, password, start, storage, type Running } from '../support/server.js'

// Everything that locks an account and its proofs, at once: none may wait for the other in a circle.

const ROUNDS = Number(process.env['PROOF_ROUNDS'] ?? 25)
const NEW_PASSWORD = 'a whale in the kitchen sings'

const mailbox = await openMailbox(t)
const running = await build(t, { ...mailbox.settings, maxSessionsPerUser: 50 })
const { port: _, ...options } = running.options
const other = storage === 'embedded' ? running : await start(t, options)
const { prisma, auth } = running.app.holdfast

/** Begins a round without the proofs and mails of the one before. */
async function clear(): Promise<void> {
  await until(
    'an empty outbox',
    async () => (await prisma.mail.count({ where: { sentAt: null, failedAt: null } })) === 0
  )
  await prisma.proof.deleteMany()
  await prisma.mail.deleteMany()
}

/** Has a mail sent, and reads the newest. */
async function mailOf(email: string, kind: MailKind, request: () => Promise<unknown>) {
  const count = async () => (await mailbox.all(email)).filter((mail) => mail.kind === kind)
  const { length } = await count()
  await request()
  const mails = await until(`a mail ${kind}`, async () => {
    const all = await count()
    return all.length > length ? all : null
  })
  const newest = mails.at(-1)
  if (!newest) throw new Error('there is no mail')
  return newest
}

t.test('resets, sign-ins, changes and ends of sessions at once answer no 5xx', async (t) => {
  const seen = new Map<string, number>()
  const at = (n: number): Running => (n % 2 ? running : other)
  const { email, id } = await newProven(running, mailbox)
  for (let round = 0; round < ROUNDS; round++) {
    await clear()
    const browser = new Browser(running.url)
    await ask(browser, '/sign-in/email', { email, password: round === 0 ? password : NEW_PASSWORD })
    const asking = new Browser(running.url)
    const signIn = await mailOf(email, 'sign-in', () =>
      ask(asking, '/sign-in/magic-link', { email })
    )
    const reset = await mailOf(email, 'reset', () =>
      ask(asking, '/request-password-reset', { email })
    )
    const newEmail = newAddress()
    const confirm = await mailOf(email, 'change-confirm', () =>
      ask(browser, '/change-email', { newEmail })
    )
    const twin = (n: number) => {
      const client = new Browser(at(n).url)
      for (const [name, value] of asking.cookies) client.cookies.set(name, value)
      return client
    }
    const answers = await Promise.all([
      ask(twin(0), '/reset-password', { token: reset.token, newPassword: NEW_PASSWORD }),
      ask(twin(1), '/email-otp/reset-password', {
        email,
        otp: reset.code,
        password: NEW_PASSWORD
      }),
      ask(twin(0), '/magic-link/verify', { token: signIn.token }),
      ask(twin(1), '/sign-in/email-otp', { email, otp: signIn.code }),
      ask(twin(1), '/sign-in/email-otp', { email, otp: '000000' }),
      ask(twin(0), '/email-otp/check-verification-otp', { email, otp: '000000', type: 'sign-in' }),
      ask(browser, '/verify-email', { token: confirm.token }),
      ask(browser, '/change-email', { newEmail: newAddress() }),
      ask(browser, '/revoke-sessions'),
      ask(twin(0), '/request-password-reset', { email }),
      ask(twin(1), '/sign-in/magic-link', { email }),
      auth.users.update(id, { name: `Ada ${round}` }).then(() => null)
    ])
    for (const answer of answers) {
      if (answer === null) continue
      seen.set(answer.outcome, (seen.get(answer.outcome) ?? 0) + 1)
      if (answer.status >= 500) t.fail(`round ${round}: ${answer.outcome}`)
    }
    // Whatever came first, the account can be recovered.
    await clear()
    const { token } = await mailOf(email, 'reset', () =>
      ask(new Browser(running.url), '/request-password-reset', { email })
    )
    const recovered = await ask(new Browser(running.url), '/reset-password', {
      token,
      newPassword: NEW_PASSWORD
    })
    if (recovered.outcome !== '200') t.fail(`round ${round}: ${recovered.outcome}`)
  }
  t.comment(Object.fromEntries(seen))
  t.ok((seen.get('200') ?? 0) > ROUNDS)
  const lost = [running, other].flatMap(({ log }) => log.filter((line) => /deadlock/.test(line)))
  t.strictSame(lost, [])
})

t.test('a change of address and a sign-up for it at once: one has it', async (t) => {
  for (let round = 0; round < Math.min(ROUNDS, 10); round++) {
    const browser = new Browser(running.url)
    await signUpAt(browser, newAddress())
    const newEmail = newAddress()
    await ask(browser, '/change-email', { newEmail })
    const { token } = await mailbox.next('change-verify', newEmail)
    const answers = await Promise.all([
      ask(browser, '/verify-email', { token }),
      ask(new Browser(other.url), '/sign-up/email', { name: 'Eve', email: newEmail, password })
    ])
    for (const { status, outcome } of answers) t.ok(status < 500, outcome)
    t.equal(answers.filter(({ status }) => status === 200).length, 1)
    t.equal(await prisma.user.count({ where: { email: newEmail } }), 1)
  }
})

t.test('a proof is not spent where its work is not done', async (t) => {
  const { email, id } = await newProven(running, mailbox)
  const asking = new Browser(running.url)
  const { token } = await mailFor(mailbox, asking, email, 'sign-in')
  // The session cannot begin: the account has as many as are allowed, all of them in use.
  await prisma.$executeRaw`CREATE OR REPLACE FUNCTION refuse_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the test refuses this session'; END $$`
  await prisma.$executeRawUnsafe(
    `CREATE TRIGGER refuse_session BEFORE INSERT ON "session" FOR EACH ROW WHEN (NEW."userId" = '${id}') EXECUTE FUNCTION refuse_session()`
  )
  const refused = await ask(new Browser(running.url), '/magic-link/verify', { token })
  t.ok(refused.status >= 500, refused.outcome)
  t.equal(await prisma.proof.count({ where: { email, purpose: 'sign-in', usedAt: null } }), 1)
  await prisma.$executeRawUnsafe(`DROP TRIGGER refuse_session ON "session"`)
  t.equal((await ask(new Browser(running.url), '/magic-link/verify', { token })).outcome, '200')

  const first = newAddress()
  const stranger = new Browser(running.url)
  await signUpAt(stranger, first)
  const verify = await mailbox.next('verify', first)
  await prisma.$executeRawUnsafe(
    `CREATE TRIGGER refuse_account BEFORE INSERT ON "account" FOR EACH ROW EXECUTE FUNCTION refuse_session()`
  )
  const half = await ask(new Browser(running.url), '/verify-email', {
    token: verify.token,
    newPassword: NEW_PASSWORD
  })
  t.ok(half.status >= 500, half.outcome)
  t.match(await prisma.user.findUnique({ where: { email: first } }), { emailVerified: false })
  t.equal(
    (await ask(new Browser(running.url), '/sign-in/email', { email: first, password })).status,
    200
  )
  await prisma.$executeRawUnsafe(`DROP TRIGGER refuse_account ON "account"`)
  t.equal(
    (
      await ask(new Browser(running.url), '/verify-email', {
        token: verify.token,
        newPassword: NEW_PASSWORD
      })
    ).outcome,
    '200'
  )
})
