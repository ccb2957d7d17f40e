import t from 'tap'
import { hashPassword, verifyPassword } from '../src/auth/password.js'

t.test('a password is known by its hash', async (t) => {
  const hash = await hashPassword('correct horse battery staple')
  t.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  t.not(await hashPassword('correct horse battery staple'), hash, 'every hash has a salt of its own')
  t.equal(await verifyPassword({ hash, password: 'correct horse battery staple' }), true)
  t.equal(await verifyPassword({ hash, password: 'correct horse battery stable' }), false)
  t.equal(await verifyPassword({ hash: await hashPassword('e\u0301'), password: '\u00e9' }), true, 'one text in two encodings is one password')
  await t.rejects(verifyPassword({ hash: 'no hash', password: 'a' }), 'what is no hash is no "no"')
})
