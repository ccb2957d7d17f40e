import t from 'tap'
import { overHttp1 } from './guest/client.js'
import { hosts } from './guest/hosts.js'
import { gateway, journey, trustedOrigin, type Step } from './guest/journey.js'
import { installed } from './guest/project.js'
import type { Visit } from './guest/run.js'
import { freshStore } from '../support/server.js'
import { startServer } from '../support/server-process.js'

const project = installed(t)

/** Divides the applications among this many processes. */
async function visitsOf(processes: number): Promise<Visit[]> {
  const shares = Array.from({ length: processes }, (_share, n) =>
    hosts.filter((_host, index) => index % processes === n).map(({ name }) => name)
  )
  const outputs = await Promise.all(
    shares.map(async (names) => {
      const { status, stdout, stderr } = await project.run(
        ['--enable-source-maps', 'run.js', ...names],
        { env: { STORE: JSON.stringify(await freshStore(t)) } }
      )
      if (status !== 0) throw new Error(stderr)
      return stdout
    })
  )
  return outputs.flatMap((output) =>
    output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Visit)
  )
}

t.test(
  'H2, H3, H5, H6, H7: Holdfast answers in every application as it does alone, and leaves no trace there',
  async (t) => {
    const store = await freshStore(t)
    const server = await startServer(t, {
      ...store,
      trustedOrigins: [trustedOrigin],
      gatewayClients: [`${gateway.id}:${gateway.secret}`]
    })
    const client = overHttp1(server.url)
    const alone = await journey(client, '', { document: true })
    client.close()
    await server.kill('SIGTERM')
    t.match(
      alone.find(({ what }) => what === 'session after it'),
      { status: 401, body: /session_revoked/ }
    )
    const visits = await visitsOf(2)
    t.equal(visits.length, hosts.length * 3)
    for (const { host, first, journey: steps, guarded, own } of visits.filter(
      (visit) => visit.first !== 'alone'
    )) {
      await t.test(`${host}, ${first} first`, (t) => {
        t.strictSame(
          differences(
            steps,
            first === 'host'
              ? alone
              : alone.filter(({ what }) => what !== 'document' && what !== 'page')
          ),
          [],
          'the answers are the same as without a host'
        )
        t.match(
          guarded,
          [/^401 [^]*credential_missing/, /^2\d\d [^]*Ada/],
          "the guard protects the application's own route"
        )
        t.strictSame(
          own,
          visits.find((visit) => visit.host === host && visit.first === 'alone')?.own,
          "the application's own routes are not changed"
        )
        t.end()
      })
    }
  }
)

function differences(steps: readonly Step[], others: readonly Step[]): unknown[] {
  return steps.flatMap((step, index) =>
    JSON.stringify(step) === JSON.stringify(others[index]) ? [] : [{ step, alone: others[index] }]
  )
}
