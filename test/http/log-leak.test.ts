import { randomBytes } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { ReplyError } from 'ioredis'
import pino from 'pino'
import { Writable } from 'node:stream'
import t from 'tap'
import { resolveConfig, secretSettings, type HoldfastOptions } from '../../src/config.js'
import { errorLine, reportError } from '../../src/error-report.js'
import { password as userPassword, storage } from '../support/server.js'
import { MailServer } from '../support/mail-server.js'
import { until } from '../support/poll.js'
import { createPostgres, execute, findPostgresPrograms } from '../support/postgres.js'
import { startRedis } from '../support/redis.js'
import { runCli, startServer, type CliProcess } from '../support/server-process.js'

// A dozen processes, on a machine of any speed.
t.setTimeout(600_000)
const random = () => randomBytes(24).toString('hex')

t.test(
  'S20: of an error its type, message, code and stack are logged, and nothing that it carries',
  async (t) => {
    const secret = `p@ss ${random()}`
    const error = Object.assign(
      new Error('it failed', {
        cause: Object.assign(new TypeError('below'), { parameters: [secret] })
      }),
      {
        code: 'E1',
        command: { name: 'auth', args: ['default', secret] },
        client: { password: secret },
        [secret]: secret
      }
    )
    const report = reportError(error)
    t.match(report, {
      type: 'Error',
      message: 'it failed',
      code: 'E1',
      stack: /log-leak/,
      cause: { type: 'TypeError', message: 'below' }
    })
    t.strictSame(Object.keys(report).toSorted(), ['cause', 'code', 'message', 'stack', 'type'])
    t.equal(reportError(report), report, 'a report is not reported again')
    // A host application's logger has pino's own serializer, or none.
    for (const options of [{}, { serializers: {} }]) {
      const lines: string[] = []
      pino(
        options,
        new Writable({
          write: (chunk: Buffer, _encoding, done) => {
            lines.push(chunk.toString())
            done()
          }
        })
      ).error({ err: report }, 'it')
      t.match(lines[0], /"type":"Error"/)
      t.notMatch(lines[0], secret)
    }
    for (const thrown of [null, undefined, 7, { password: secret }])
      t.notMatch(JSON.stringify(reportError(thrown)), secret)
    t.match(reportError(new AggregateError([new Error('one'), new Error('two')])), {
      message: 'one; two'
    })
  }
)

t.test(
  'S20: messages that repeat a command or an address are told without the secret',
  async (t) => {
    const [redis, database, gateway] = [random(), `a b/${random()}`, random()]
    resolveConfig({
      databaseUrl: `postgresql://u:${encodeURIComponent(database)}@127.0.0.1/d`,
      redisUrl: `redis://:${redis}@127.0.0.1`,
      baseUrl: 'http://127.0.0.1',
      authSecret: random(),
      gatewayClients: [`edge:${gateway}`]
    })
    const unknown =
      "ERR unknown command 'AUTH', with args beginning with: 'default' 'something else'"
    t.equal(
      errorLine(new ReplyError(unknown)),
      "ERR unknown command 'AUTH', with args beginning with: ***"
    )
    t.equal(
      errorLine(new Error('no answer from redis+sentinel://user:an@other@host:1/x')),
      'no answer from redis+sentinel://***@host:1/x'
    )
    for (const secret of [redis, database, encodeURIComponent(database), gateway])
      t.equal(errorLine(new Error(`what is ${secret}?`)), 'what is ***?')
  }
)

/** The forms in which a log might show a secret. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret)
  return [
    ...new Set([
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
      bytes.toString('base64').replace(/=+$/, ''),
      bytes.toString('base64url'),
      bytes.toString('hex')
    ])
  ]
}

const programs = findPostgresPrograms()
const skip =
  storage === 'embedded'
    ? 'there is no other store to fail'
    : programs === null
      ? 'there are no programs of PostgreSQL'
      : spawnSync('redis-server', ['--version']).status !== 0 && 'redis-server is not on the PATH'

t.test(
  'S20: no failure of either store puts a secret of the configuration into the log',
  { skip, timeout: 500_000 },
  async (t) => {
    const passwords = {
      database: `d@/ ${random()}`,
      redis: `r@/ ${random()}`,
      mail: `m@/ ${random()}`
    }
    const mailServer = await MailServer.start(t, { login: { user: 'me', password: 'another' } })
    const redis = await startRedis(['--requirepass', passwords.redis])
    if (!redis || programs === null) throw new Error('there are no stores')
    t.teardown(() => redis.stop())
    const postgres = await createPostgres(programs)
    t.teardown(() => postgres.remove())
    await postgres.start()
    // From now on the server asks for passwords. The owner still needs none.
    await execute(
      postgres.url,
      `CREATE ROLE holdfast LOGIN PASSWORD '${passwords.database}'`,
      'CREATE DATABASE holdfast OWNER holdfast',
      `DO $$ BEGIN
    EXECUTE format('COPY (SELECT unnest(ARRAY[''host all postgres 127.0.0.1/32 trust'', ''host all all 127.0.0.1/32 scram-sha-256''])) TO %L', current_setting('hba_file'));
    PERFORM pg_reload_conf(); END $$`
    )
    const databaseUrl = new URL(postgres.url)
    Object.assign(databaseUrl, {
      username: 'holdfast',
      password: encodeURIComponent(passwords.database),
      pathname: '/holdfast'
    })
    const redisUrl = `redis://:${encodeURIComponent(passwords.redis)}@127.0.0.1:${redis.port}`
    const previous = random()
    const gateway = random()
    const values: Record<string, string> = {
      AUTH_SECRET: random(),
      AUTH_SECRET_PREVIOUS: previous,
      DATABASE_URL: databaseUrl.href,
      REDIS_URL: redisUrl,
      GATEWAY_CLIENTS: `edge:${gateway}`,
      SMTP_URL: `smtp://me:${encodeURIComponent(passwords.mail)}@127.0.0.1:${mailServer.port}`
    }
    t.strictSame(
      Object.keys(values).toSorted(),
      secretSettings.toSorted(),
      'the drill covers every secret setting'
    )
    const options = {
      authSecret: values['AUTH_SECRET'],
      authSecretPrevious: [previous],
      databaseUrl: databaseUrl.href,
      redisUrl,
      gatewayClients: [`edge:${gateway}`],
      smtpUrl: values['SMTP_URL'],
      mailFrom: 'no-reply@example.com',
      logLevel: 'trace'
    } satisfies HoldfastOptions
    const secrets = [...Object.values(values), gateway, ...Object.values(passwords)]
    const written: { what: string; process: CliProcess }[] = []
    const run = async (what: string, args: string[], changed: HoldfastOptions = {}) => {
      const process = runCli(t, args, { baseUrl: 'http://127.0.0.1', ...options, ...changed })
      written.push({ what, process })
      return process.exited
    }
    const migrated = await run('migrate', ['migrate'])
    t.equal(migrated, 0, written[0]?.process.stderr ?? '')
    const server = await startServer(t, { ...options, rateLimit: true })
    written.push({ what: 'the server', process: server })
    const logs = (text: string) =>
      until(
        `the log to say "${text}"`,
        () => (server.stdout + server.stderr).includes(text),
        20_000
      )
    const ask = async () => {
      const headers = { 'content-type': 'application/json' }
      await Promise.all([
        fetch(`${server.url}/health/ready`),
        fetch(`${server.url}/api/auth/sign-up/email`, {
          method: 'POST',
          headers,
          body: JSON.stringify({
            name: 'Ada',
            email: `${random()}@example.com`,
            password: userPassword
          })
        }),
        fetch(`${server.url}/oauth2/introspect`, {
          method: 'POST',
          headers: { authorization: `Basic ${Buffer.from(`edge:${gateway}`).toString('base64')}` },
          body: new URLSearchParams({ token: 'x' })
        })
      ]).then((responses) => Promise.all(responses.map((response) => response.text())))
    }
    const asRedis = (...command: string[]) =>
      spawnSync('redis-cli', ['-p', String(redis.port), '--no-auth-warning', ...command], {
        encoding: 'utf8',
        env: {
          ...process.env,
          REDISCLI_AUTH: command.includes('other') ? 'other' : passwords.redis
        }
      })
    const asOwner = (...statements: string[]) =>
      execute(new URL('/holdfast', postgres.url).href, ...statements)
    await until(
      'the server to be ready',
      async () => (await fetch(`${server.url}/health/ready`)).ok
    )
    await ask()

    // The mail server: another password.
    await run('mail test, with a wrong password', ['mail', 'test', 'ada@example.com'])

    // Redis: another password, connections cut, commands that are not allowed, no server.
    asRedis('CONFIG', 'SET', 'requirepass', 'another password')
    spawnSync('redis-cli', ['-p', String(redis.port), 'CLIENT', 'KILL', 'TYPE', 'normal'], {
      env: { ...process.env, REDISCLI_AUTH: 'another password' }
    })
    spawnSync('redis-cli', ['-p', String(redis.port), 'CLIENT', 'KILL', 'TYPE', 'pubsub'], {
      env: { ...process.env, REDISCLI_AUTH: 'another password' }
    })
    await ask()
    await logs('WRONGPASS')
    spawnSync(
      'redis-cli',
      ['-p', String(redis.port), 'CONFIG', 'SET', 'requirepass', passwords.redis],
      { env: { ...process.env, REDISCLI_AUTH: 'another password' } }
    )
    await logs('Redis answers again')
    asRedis('ACL', 'SETUSER', 'default', '-@all', '+auth', '+acl', '+config')
    for (let i = 0; i < 3; i++) await ask()
    await sleep(500)
    asRedis('ACL', 'SETUSER', 'default', '+@all')
    asRedis('CLIENT', 'KILL', 'TYPE', 'normal')
    await ask()
    await redis.stop()
    for (let i = 0; i < 3; i++) await ask()

    // PostgreSQL: statements that fail, connections cut, another password, no server.
    await asOwner(
      'ALTER TABLE "session" RENAME TO "session_away"',
      'ALTER TABLE "user" RENAME TO "user_away"'
    )
    await ask()
    await asOwner(
      'ALTER TABLE "session_away" RENAME TO "session"',
      'ALTER TABLE "user_away" RENAME TO "user"'
    )
    await asOwner(
      "ALTER ROLE holdfast PASSWORD 'another'",
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'holdfast'"
    )
    await ask()
    await logs('28P01')
    await asOwner('ALTER ROLE holdfast NOLOGIN')
    await ask()
    await Promise.all([
      run('sessions, with a wrong password', ['session', 'list', '--user', 'ada@example.com']),
      run('start, with a wrong password', ['start'])
    ])
    await asOwner(`ALTER ROLE holdfast LOGIN PASSWORD '${passwords.database}'`)
    await Promise.all([
      run('start, with no such database', ['start'], {
        databaseUrl: databaseUrl.href.replace(/\/holdfast$/, '/nowhere')
      }),
      run('start, with a mail URL that is none', ['start'], {
        smtpUrl: `${values['SMTP_URL']}x`
      }),
      run('start, with a URL that is none', ['start'], {
        redisUrl: redisUrl.replace('redis:', 'reddis:')
      }),
      run('migrate, with a URL that is none', ['migrate'], {
        databaseUrl: databaseUrl.href.replace('127.0.0.1:', '127.0.0.1:x')
      })
    ])
    await postgres.stop()
    for (let i = 0; i < 2; i++) await ask()
    await server.kill('SIGTERM')

    t.ok(server.stdout.length > 5_000, 'the server wrote a log')
    t.match(server.stdout, /"message":"WRONGPASS/)
    t.match(server.stdout, /"type":"DatabaseError"/)
    for (const {
      what,
      process: { stdout, stderr }
    } of written) {
      for (const secret of secrets) {
        for (const spelling of spellings(secret)) {
          const at = (stdout + stderr).indexOf(spelling)
          if (at >= 0)
            t.fail(
              `${what}: ${(stdout + stderr).slice(Math.max(0, at - 300), at + spelling.length)}`
            )
        }
      }
    }
    for (const {
      what,
      process: { stderr }
    } of written.slice(2))
      t.ok(stderr.startsWith('holdfast: '), `${what}: ${stderr}`)
  }
)
