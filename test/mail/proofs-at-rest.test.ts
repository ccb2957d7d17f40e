import { createHash, createHmac } from 'node:crypto'
import t, { type Test } from 'tap'
import { eraseMail, purgeProofs } from '../../src/mail/proofs.js'
import { codeOf, tokenOf, type ProofIdentity } from '../../src/mail/proof.js'
import { deriveKeys } from '../../src/secrets/keys.js'
import { openMailbox, type ReadMail } from '../support/mailbox.js'
import { ask, mailFor, newAddress, newProven, signUpAt } from '../support/mail-people.js'
import { Browser, build, password, restart } from '../support/server.js'
import { readStore } from '../support/store-contents.js'

const NEW_PASSWORD = 'a whale in the kitchen sings'

const monotonic = () => performance.now()

/** All texts of a store: each column, and each part of a JSON value. */
async function textsIn(prisma: Parameters<typeof readStore>[0]): Promise<string[]> {
  const texts: string[] = []
  const collect = (value: unknown): void => {
    if (typeof value === 'string') texts.push(value)
    else if (typeof value === 'number') texts.push(String(value))
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(collect)
  }
  for (const rows of (await readStore(prisma)).values()) collect(rows)
  return texts
}

t.test('R2: the store holds nothing that proves anything', async (t) => {
  const mailbox = await openMailbox(t)
  const running = await build(t, mailbox.settings)
  const { prisma } = running.app.holdfast
  const { browser, email } = await newProven(running, mailbox)
  const mails: ReadMail[] = [
    await mailFor(mailbox, browser, email, 'reset'),
    await mailFor(mailbox, browser, email, 'sign-in')
  ]
  const newEmail = newAddress()
  await ask(browser, '/change-email', { newEmail })
  mails.push(await mailbox.next('change-confirm', email))
  const unproven = newAddress()
  await signUpAt(new Browser(running.url), unproven)
  mails.push(await mailbox.next('verify', unproven))
  await ask(browser, '/change-password', { currentPassword: password, newPassword: NEW_PASSWORD })
  mails.push(await mailbox.next('password-changed', email))

  const texts = await textsIn(prisma)
  const all = texts.join('\n')
  const handle = [...browser.cookies].find(([name]) => name.endsWith('.mail'))?.[1] ?? ''
  t.match(handle, /^[\w-]{32}$/)
  t.notMatch(all, handle)
  for (const { kind, token, code, link } of mails) {
    t.ok(token, kind)
    for (const secret of [token, link, token.slice(22), ...(code === '' ? [] : [`"${code}"`])])
      t.notMatch(all, secret, `${kind}: ${secret}`)
    for (const secret of [token, code].filter(Boolean))
      for (const algorithm of ['sha256', 'sha1', 'md5', 'sha512'])
        for (const form of ['hex', 'base64url', 'base64'] as const)
          t.notOk(all.includes(createHash(algorithm).update(secret).digest(form)), kind)
  }
  triesAll(t, texts, mails)
})

/** Tries each of a million codes against the store, as a thief of it would. */
function triesAll(t: Test, texts: readonly string[], mails: readonly ReadMail[]): void {
  // What is as long as a digest, in any form, and how it may have been salted.
  const stored = new Set(
    texts.flatMap((text) => {
      const forms = [text, text.split('_').at(-1) ?? '', text.split(':').at(-1) ?? '']
      return forms.filter((form) => form.length >= 22 && form.length <= 128)
    })
  )
  const codes = new Set(mails.map(({ code }) => code).filter(Boolean))
  const isPlain = texts.filter((text) => codes.has(text))
  t.strictSame(isPlain, [], 'no code is stored as it is')
  const found: string[] = []
  for (let n = 0; n < 1_000_000; n++) {
    const code = String(n).padStart(6, '0')
    const digest = createHash('sha256').update(code).digest()
    if (
      stored.has(digest.toString('hex')) ||
      stored.has(digest.toString('base64url')) ||
      stored.has(digest.toString('base64'))
    )
      found.push(code)
  }
  t.strictSame(found, [], 'no code is stored as a plain hash')
  // Salted with whatever stands beside it: the codes that were mailed are enough to find such a hash.
  const salts = [...new Set(texts)].filter((text) => text.length > 0 && text.length <= 128)
  for (const code of codes)
    for (const salt of salts)
      for (const digest of [
        createHmac('sha256', salt).update(code).digest(),
        createHash('sha256')
          .update(salt + code)
          .digest(),
        createHash('sha256').update(`${salt}:${code}`).digest(),
        createHash('sha256')
          .update(code + salt)
          .digest()
      ])
        for (const form of ['hex', 'base64url', 'base64'] as const)
          if (stored.has(digest.toString(form))) found.push(`${code} with ${salt}`)
  t.strictSame(found, [], 'and none is salted with what the store holds')
}

t.test('R4: link and code derive from the row, and from AUTH_SECRET', async (t) => {
  const row: ProofIdentity = {
    id: '0198f3c2-7d1e-7a55-8c11-5d2f6b7a9e01',
    purpose: 'reset',
    email: 'ada@example.com',
    keyId: ''
  }
  const [one, two] = [
    deriveKeys('a first secret for this test only'),
    deriveKeys('a second one, no less secret')
  ]
  const at = (keys: typeof one, more: Partial<ProofIdentity> = {}) => {
    const proof = { ...row, keyId: keys.id, ...more }
    return `${tokenOf(keys, proof)} ${codeOf(keys, proof)}`
  }
  t.equal(at(one), at(one), 'the same each time')
  const all = [
    at(one),
    at(two),
    at(one, { id: row.id.replace('7d1e', '7d1f') }),
    at(one, { purpose: 'sign-in' }),
    at(one, { email: 'eve@example.com' })
  ]
  t.equal(new Set(all.map((each) => each.split(' ')[0])).size, all.length)
  t.ok(new Set(all.map((each) => each.split(' ')[1])).size > 3)
  t.equal(tokenOf(two, { ...row, keyId: one.id }), null, 'the secret is gone')
})

t.test('R4: a proof outlives a rotation of the secret, while the old one is named', async (t) => {
  const mailbox = await openMailbox(t)
  let running = await build(t, mailbox.settings)
  const { email } = await newProven(running, mailbox)
  const { email: second } = await newProven(running, mailbox)
  const { token } = await mailFor(mailbox, new Browser(running.url), email, 'reset')
  const later = await mailFor(mailbox, new Browser(running.url), second, 'reset')
  const { authSecret = '' } = running.options
  const next = 'the next secret of this test: 8c1f0e2d'
  running = await restart(t, running, { authSecret: next, authSecretPrevious: [authSecret] })
  const reset = (sent: string) =>
    ask(new Browser(running.url), '/reset-password', { token: sent, newPassword: NEW_PASSWORD })
  t.equal((await reset(token)).outcome, '200')
  running = await restart(t, running, { authSecret: next })
  t.equal((await reset(later.token)).outcome, '400 INVALID_TOKEN')
  t.equal(
    (await ask(new Browser(running.url), '/describe-link', { token: later.token })).outcome,
    '400 INVALID_TOKEN'
  )
})

t.test('an erasure removes proofs and mails, and time removes proofs', async (t) => {
  const mailbox = await openMailbox(t)
  const running = await build(t, mailbox.settings)
  const { prisma } = running.app.holdfast
  const { email, id } = await newProven(running, mailbox)
  const { email: other } = await newProven(running, mailbox)
  for (const each of [email, other]) await mailFor(mailbox, new Browser(running.url), each, 'reset')
  const left = async (address: string) => [
    await prisma.proof.count({ where: { email: address } }),
    await prisma.mail.count({ where: { recipient: address } })
  ]
  const before = await left(other)
  await eraseMail(prisma, { userId: id, email })
  t.strictSame(await left(email), [0, 0])
  t.strictSame(await left(other), before)
  t.equal(await purgeProofs(prisma, monotonic), 0, 'young ones stay')
  await prisma.$executeRaw`UPDATE "proof" SET "createdAt" = "createdAt" - interval '5 days', "expiresAt" = "expiresAt" - interval '5 days' WHERE "email" = ${other}`
  t.ok((await purgeProofs(prisma, monotonic)) >= 2)
  t.equal(await prisma.proof.count({ where: { email: other } }), 0)
})
