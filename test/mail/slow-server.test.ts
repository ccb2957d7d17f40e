import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { until } from '../support/poll.js'
import { build, type Running } from '../support/server.js'
import { MailServer } from '../support/mail-server.js'

const ROUNDS = 300
const mailFrom = 'no-reply@example.com'

/** Milliseconds of one request for a reset. */
async function ask({ url }: Running, email: string): Promise<number> {
  const begun = performance.now()
  const response = await fetch(`${url}/api/auth/request-password-reset`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email })
  })
  await response.arrayBuffer()
  return performance.now() - begun
}

const percentile = (times: readonly number[], share: number) =>
  times.toSorted((one, other) => one - other)[Math.floor(times.length * share)] ?? 0

t.test('nothing on the path of a request waits for a mail server that hangs', async (t) => {
  // It takes connections, and never says a word.
  const held = new Set<Socket>()
  const silent = createServer((socket) => {
    held.add(socket)
    socket.on('error', () => {})
  }).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => {
    for (const socket of held) socket.destroy()
    silent.close()
  })
  const quick = await MailServer.start(t)
  const idle = await build(t, { smtpUrl: quick.url, mailFrom })
  const hanging = await build(t, {
    smtpUrl: `smtp://127.0.0.1:${(silent.address() as AddressInfo).port}`,
    mailFrom
  })
  for (const server of [idle, hanging]) {
    const { prisma } = server.app.holdfast
    // Every mail has an account, so that each of them is really sent.
    await prisma.user.createMany({
      data: Array.from({ length: ROUNDS + 20 }, (_each, i) => ({
        id: `user-${i}`,
        name: 'Ada',
        email: `ada${i}@example.com`
      }))
    })
    for (let i = ROUNDS; i < ROUNDS + 20; i++) await ask(server, `ada${i}@example.com`)
  }
  await until('a mail to hang', async () => held.size > 0)
  const times: Record<'idle' | 'hanging', number[]> = { idle: [], hanging: [] }
  for (let i = 0; i < ROUNDS; i++) {
    times.idle.push(await ask(idle, `ada${i}@example.com`))
    times.hanging.push(await ask(hanging, `ada${i}@example.com`))
  }
  const [idleP99, hangingP99] = [percentile(times.idle, 0.99), percentile(times.hanging, 0.99)]
  t.comment(
    `median ${percentile(times.idle, 0.5).toFixed(1)} and ${percentile(times.hanging, 0.5).toFixed(1)} ms, p99 ${idleP99.toFixed(1)} and ${hangingP99.toFixed(1)} ms`
  )
  t.ok(hangingP99 < 2 * idleP99, `p99 ${hangingP99} ms is within twice ${idleP99} ms`)
  t.ok(
    (await hanging.app.holdfast.prisma.mail.count({ where: { sentAt: null } })) >= ROUNDS,
    'every mail waits, and none is lost'
  )
})
