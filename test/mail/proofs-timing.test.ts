import t from 'tap'
import { openMailbox } from '../support/mailbox.js'
import { newAddress } from '../support/mail-people.js'
import { until } from '../support/poll.js'
import { Browser, build } from '../support/server.js'

// A request for a mail takes the same time for every address. Addresses with an account and
// addresses without one are asked for in turns, each for the first time and again.

const ROUNDS = 200
const NEW_PASSWORD = 'a whale in the kitchen sings'

const requests = {
  '/request-password-reset': (email: string) => ({ email }),
  '/email-otp/send-verification-otp': (email: string) => ({ email, type: 'sign-in' }),
  '/send-verification-email': (email: string) => ({ email }),
  '/sign-up/email': (email: string) => ({ name: 'Eve', email, password: NEW_PASSWORD })
}

const mailbox = await openMailbox(t)
const running = await build(t, { ...mailbox.settings, requireEmailVerification: true })
const { prisma } = running.app.holdfast

/** Makes accounts with a proven address, without the hash and the mail of a sign-up. */
async function addressesWithAccount(count: number): Promise<string[]> {
  const addresses = Array.from({ length: count }, newAddress)
  await prisma.user.createMany({
    data: addresses.map((email) => ({ id: email, name: 'Ada', email, emailVerified: true }))
  })
  return addresses
}

/** The worker looks accounts up, at a time of its own: that must not be measured. */
async function idle(): Promise<void> {
  await until(
    'an empty outbox',
    async () => (await prisma.mail.count({ where: { sentAt: null, failedAt: null } })) === 0
  )
  await running.app.holdfast.mail?.worker?.idle()
}

/** How long a request takes, in milliseconds. */
async function timeOf(path: string, body: unknown): Promise<number> {
  await idle()
  // As warm as a moment after another request, whatever the worker has just done.
  await new Browser(running.url).get('/session')
  await new Browser(running.url).get('/session')
  const begin = performance.now()
  const { status } = await new Browser(running.url).post(`/api/auth${path}`, body)
  const took = performance.now() - begin
  if (status !== 200) throw new Error(`${path} answered ${status}`)
  return took
}

for (const [path, bodyFor] of Object.entries(requests))
  for (const again of [false, true])
    t.test(
      `R3: ${path} takes as long for every address${again ? ', asked again' : ''}`,
      async (t) => {
        const rounds = again ? ROUNDS / 2 : ROUNDS
        const known = await addressesWithAccount(rounds)
        const unknown = Array.from({ length: rounds }, newAddress)
        const times: Record<'known' | 'unknown', number[]> = { known: [], unknown: [] }
        if (again)
          for (const email of [...known, ...unknown])
            await new Browser(running.url).post(`/api/auth${path}`, bodyFor(email))
        for (let n = 0; n < rounds; n++) {
          // In turns, and each of the two first as often.
          const order = n % 2 ? (['known', 'unknown'] as const) : (['unknown', 'known'] as const)
          for (const which of order) {
            const email = (which === 'known' ? known : unknown)[n] ?? ''
            times[which].push(await timeOf(path, bodyFor(email)))
          }
        }
        const [one, other] = [median(times.known), median(times.unknown)]
        const z = rankSum(times.known, times.unknown)
        t.comment(`known ${one.toFixed(2)} ms, unknown ${other.toFixed(2)} ms, z ${z.toFixed(2)}`)
        // On a busy machine chance alone moves a median by more.
        const chance = 3 * Math.hypot(medianError(times.known), medianError(times.unknown))
        t.ok(
          Math.abs(one - other) < 0.05 * other + chance,
          `medians ${one.toFixed(2)} and ${other.toFixed(2)}, of which ${chance.toFixed(2)} by chance`
        )
        // One in ten thousand runs is further off by chance.
        t.ok(Math.abs(z) < 3.9, `the ranks differ by ${z.toFixed(2)} standard deviations`)
      }
    )

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

/** The standard error of a median, as of a normal distribution with the same quartiles. */
function medianError(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0
  const deviation = (at(0.75) - at(0.25)) / 1.349
  return (1.253 * deviation) / Math.sqrt(sorted.length)
}

/** The rank-sum test of Mann and Whitney: how many standard deviations the ranks are apart. */
function rankSum(one: readonly number[], other: readonly number[]): number {
  const ranked = [
    ...one.map((value) => ({ value, isFirst: true })),
    ...other.map((value) => ({ value, isFirst: false }))
  ].toSorted((a, b) => a.value - b.value)
  const sum = ranked.reduce((total, { isFirst }, index) => total + (isFirst ? index + 1 : 0), 0)
  const [n, m] = [one.length, other.length]
  const mean = (n * (n + m + 1)) / 2
  return (sum - mean) / Math.sqrt((n * m * (n + m + 1)) / 12)
}
