import { readFile, readdir } from 'node:fs/promises'
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

t.test('hashing is less urgent than whatever else this process does', { skip: process.platform !== 'linux' }, async (t) => {
  await hashPassword('a')
  const tasks = await readdir('/proc/self/task')
  // Field 19 of proc_pid_stat(5), counted behind the name in brackets.
  const niceness = await Promise.all(tasks.map(async (id) => (await readFile(`/proc/self/task/${id}/stat`, 'utf8')).split(') ')[1]?.split(' ')[16]))
  t.ok(niceness.includes('10'), 'the thread that hashes')
  t.equal(niceness[tasks.indexOf(String(process.pid))], '0', 'and not the event loop')
})
