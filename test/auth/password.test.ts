import { availableParallelism } from 'node:os'
import t from 'tap'
import { hashesAtOnce, hashPassword, verifyPassword } from '../../src/auth/password.js'

t.test('a password is known by its hash', async (t) => {
  const hash = await hashPassword('correct horse battery staple')
  t.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  t.not(await hashPassword('correct horse battery staple'), hash, 'each hash has its own salt')
  t.equal(await verifyPassword({ hash, password: 'correct horse battery staple' }), true)
  t.equal(await verifyPassword({ hash, password: 'correct horse battery stable' }), false)
  t.equal(
    await verifyPassword({ hash: await hashPassword('e\u0301'), password: '\u00e9' }),
    true,
    'two encodings of a text are the same password'
  )
  const foreign = [
    'no hash',
    '',
    '$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234',
    '$argon2id$garbage',
    '$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g',
    '$argon2id$v=19$m=19456,t=2,p=1$A$A',
    'salt:key'
  ]
  for (const other of foreign)
    t.equal(
      await verifyPassword({ hash: other, password: 'a' }),
      false,
      `P16: no password fits ${other}`
    )
})

t.test('a core is left to the event loop, and a thread of libuv to others', async (t) => {
  t.strictSame([1, 2, 3, 4, 64].map(hashesAtOnce), [1, 1, 2, 3, 3])
})

t.test('hashes wait their turn, and a failed one does not block others', async (t) => {
  const atOnce = hashesAtOnce(availableParallelism())
  const ended: number[] = []
  const all = Array.from({ length: 3 * atOnce }, async (_, i) => {
    if (i === 0)
      t.equal(
        await verifyPassword({ hash: '$argon2id$v=19$m=19456,t=2,p=1$A$A', password: 'a' }),
        false
      )
    else await hashPassword(`password ${i}`)
    ended.push(i)
  })
  await Promise.all(all)
  for (const [place, i] of ended.entries())
    t.ok(Math.abs(place - i) < atOnce + 1, `number ${i} ended at place ${place}`)
})
