import { loading, ratioOf, type Family } from '../figure.js'
import { bearersOf, makeSessions, parts, verifying } from '../sessions.js'

const SESSIONS = 1_000
const CONNECTIONS = 16

/** The gain of a second process behind the same port, where there is a core for it. */
export const workers: Family = {
  name: 'verify, by workers',
  long: true,
  rounds: 3,
  async prepare(stage) {
    const databaseUrl = await stage.database('workers')
    const requests = parts(
      verifying(bearersOf(await makeSessions(databaseUrl, SESSIONS))),
      CONNECTIONS
    )
    const side = async (count: number) => {
      const server = await stage.start('workers', databaseUrl, { WORKERS: String(count) })
      return loading(stage, {
        server,
        connections: CONNECTIONS,
        requests,
        isRight: (body: string) => body === ''
      })
    }
    return { 'one worker': await side(1), 'two workers': await side(2) }
  },
  figures: [
    {
      name: '/verify per second, WORKERS=2 ÷ WORKERS=1',
      bound: null,
      value: (rounds) => ratioOf(rounds, 'perSecond', 'two workers', 'one worker')
    }
  ]
}
