import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { build, freshStore, signUp, storage } from '../support/server.js'
import { configFromEnvironment, resolveConfig } from '../../src/config.js'
import { helpFor } from '../../src/cli/help.js'
import { listenProblem } from '../../src/listen-problem.js'
import { banner } from '../../src/server/notices.js'
import { until } from '../support/poll.js'
import { accepts, freePort } from '../support/ports.js'
import { runCli, type CliProcess } from '../support/server-process.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const onEmbedded = storage === 'embedded'
const embedded = { skip: !onEmbedded && 'it has nothing to do with the store: once is enough' }
const production = { skip: onEmbedded && 'one process has an embedded store to itself' }

/** A directory in which `npm start` is this package's, without the build. */
function installation(t: Test, dotEnv: Record<string, string | number>): string {
  const folder = temporary(t)
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({
      name: 'installation',
      version: '1.0.0',
      private: true,
      scripts: { ...scripts, build: 'node -e 0' }
    })
  )
  symlinkSync(join(root, 'dist'), join(folder, 'dist'))
  writeFileSync(
    join(folder, '.env'),
    Object.entries(dotEnv)
      .map(([name, value]) => `${name}=${value}\n`)
      .join('')
  )
  return folder
}

function temporary(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-start-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const isAlive = async (url: string) => (await fetch(`${url}/health/live`)).ok

t.test('O1, O3: npm start reads .env, and a signal to npm ends the server', async (t) => {
  const store = await freshStore(t)
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const folder = installation(t, {
    PORT: port,
    BASE_URL: url,
    AUTH_SECRET: store.authSecret ?? '',
    LOG_LEVEL: 'warn',
    ...(onEmbedded
      ? { DATA_DIR: store.dataDir ?? '' }
      : { DATABASE_URL: store.databaseUrl ?? '', REDIS_URL: store.redisUrl ?? '', WORKERS: 2 })
  })
  const npm = spawn('npm', ['start', '--silent'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: folder }
  })
  t.teardown(() => npm.kill('SIGKILL'))
  let [stdout, stderr] = ['', '']
  npm.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  npm.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  await until('the server to serve', () => stdout.includes('serving'), 60_000)
  await signUp(url)
  // `close` also waits for its streams, which a process that is left behind would hold open.
  const ended = once(npm, 'close')
  npm.kill(onEmbedded ? 'SIGINT' : 'SIGTERM')
  t.strictSame(await ended, [0, null], stderr)
  t.notOk(await accepts('127.0.0.1', port), 'the port is free again')
  t.match(stderr, /^holdfast: stopping: open requests may end; a second signal stops at once\n$/)
})

t.test(
  'O1: Ctrl-C while the embedded store is made ends with a line, and leaves a directory on which the next start works',
  embedded,
  async (t) => {
    const dataDir = join(temporary(t), 'data')
    const port = await freePort()
    const first = runCli(t, ['start'], { dataDir, port })
    await until('the store to be begun', () => existsSync(join(dataDir, 'pglite.new')), 60_000)
    t.equal(await first.kill('SIGINT'), 0)
    t.match(
      first.stderr,
      /^holdfast: making a store in .*\nholdfast: stopped before it served: nothing is left half done\n$/
    )
    t.notOk(existsSync(join(dataDir, 'pglite', 'PG_VERSION')), 'the unfinished directory is gone')
    // The worst remains of a killed process.
    mkdirSync(join(dataDir, 'pglite.new'), { recursive: true })
    writeFileSync(join(dataDir, 'pglite.new', 'PG_VERSION'), 'half')
    const second = runCli(t, ['migrate'], { dataDir })
    t.equal(await second.exited, 0, second.stderr)
    t.strictSame((JSON.parse(second.stdout) as { applied: string[] }).applied.length > 0, true)
    t.notOk(existsSync(join(dataDir, 'pglite.new')))
  }
)

t.test(
  'O1: the same signal twice at once is one wish to stop, a later one stops at once',
  async (t) => {
    const server = await serving(t, { drainDelayMs: 30_000 })
    t.ok(
      (await fetch(`${server.url}/health/ready`)).ok,
      'readiness was asked for, so the stop waits'
    )
    process.kill(server.pid, 'SIGINT')
    process.kill(server.pid, 'SIGINT')
    process.kill(server.pid, 'SIGTERM')
    await until(
      'the server to drain',
      async () => (await fetch(`${server.url}/health/ready`)).status === 503
    )
    const again = setInterval(() => void server.kill('SIGINT'), 200)
    t.teardown(() => clearInterval(again))
    t.equal(await server.exited, 1)
  }
)

t.test('O2: every wrong setting is told at once, a line each', async (t) => {
  const run = runCli(
    t,
    ['start'],
    {},
    {
      env: {
        PORT: 'http',
        LOG_LEVEL: 'loud',
        TRUSTED_PROXIES: 'proxy',
        REDIS_URL: 'localhost',
        AUTH_SECRET: 'hunter2',
        DATABASE_URL_FILE: '/nowhere',
        SESSION_IDLE_TTL_SECONDS: '100',
        SESSION_ABSOLUTE_TTL_SECONDS: '99',
        BETTER_AUTH_SECRETS: 'x',
        TRUSTED_ORIGIN: 'https://app.example.com'
      }
    }
  )
  t.equal(await run.exited, 2)
  t.notMatch(run.stderr, 'hunter2')
  t.strictSame(
    run.stderr
      .trimEnd()
      .split('\n')
      .map((line) => /^holdfast: (\w+): /.exec(line)?.[1] ?? line)
      .toSorted((a, b) => a.localeCompare(b)),
    [
      'AUTH_SECRET',
      'BETTER_AUTH_SECRETS',
      'DATABASE_URL_FILE',
      'LOG_LEVEL',
      'PORT',
      'REDIS_URL',
      'SESSION_IDLE_TTL_SECONDS',
      'TRUSTED_ORIGIN',
      'TRUSTED_PROXIES'
    ]
  )
  const migrate = runCli(
    t,
    ['migrate'],
    {},
    { env: { DATABASE_POOL_SIZE: '1', DATABASE_CONNECT_TIMEOUT_MS: '0', DATABASE_URI: 'x' } }
  )
  t.equal(await migrate.exited, 2)
  t.equal(migrate.stderr.trimEnd().split('\n').length, 3, migrate.stderr)
})

t.test('O2: what only follows from a wrong setting is not told', async (t) => {
  t.strictSame(
    problems({
      AUTH_SECRET_FILE: '/nowhere',
      DATABASE_URL: 'postgresql://db/holdfast',
      BASE_URL: 'https://auth.example.com'
    }),
    ['AUTH_SECRET_FILE']
  )
  t.strictSame(problems({ BASE_URL: 'auth.example.com', COOKIE_DOMAIN: 'example.org' }), [
    'BASE_URL'
  ])
  t.strictSame(problems({ PORT: 'x', METRICS_PORT: '3000' }), ['PORT'])
  t.strictSame(problems({ DATABASE_URL: 'postgresql://db/holdfast' }), ['BASE_URL', 'AUTH_SECRET'])
})

t.test('O2: names that are nearly those of settings are named, and no others', async (t) => {
  for (const [name, setting] of Object.entries({
    TRUSTED_ORIGIN: 'TRUSTED_ORIGINS',
    TRUSTED_PROXY: 'TRUSTED_PROXIES',
    LOGLEVEL: 'LOG_LEVEL',
    log_level: 'LOG_LEVEL',
    BASEURL: 'BASE_URL',
    DATABASE_URI: 'DATABASE_URL',
    REDIS_URI: 'REDIS_URL',
    SINGUP: 'SIGN_UP',
    WORKER: 'WORKERS',
    AUTH_SECRET_PREVIOS: 'AUTH_SECRET_PREVIOUS',
    ACCESS_TOKEN_TTL: 'ACCESS_TOKEN_TTL_SECONDS',
    HOLDFAST_BASE_URL: 'BASE_URL',
    DATABASE_URL_FIEL: 'DATABASE_URL_FILE',
    METRICS_PROT: 'METRICS_PORT'
  }))
    t.strictSame(meant(name), [setting], name)
  for (const name of [
    'PATH',
    'HOME',
    'HOSTNAME',
    'HOSTS',
    'POST',
    'PORTS',
    'LOGNAME',
    'NODE_ENV',
    'PGHOST',
    'POSTGRES_PASSWORD',
    'HOLDFAST_SERVICE_HOST',
    'HOLDFAST_PORT_3000_TCP_ADDR',
    'npm_config_base_url'
  ]) {
    t.strictSame(meant(name), [], name)
  }
  t.strictSame(
    meant('METRIC_PORT', 'tcp://10.0.0.1:9090'),
    [],
    'a variable for a Service is ignored'
  )
  t.strictSame(
    configFromEnvironment({ TRUSTED_ORIGIN: 'x', TRUSTED_ORIGINS: 'https://app.example.com' })
      .misspelt,
    [],
    'a similar name is ignored where the setting is set'
  )
})

t.test(
  'O3: the command line reads .env where it is run, and the environment goes before it',
  async (t) => {
    const folder = temporary(t)
    writeFileSync(join(folder, '.env'), 'PORT=one\nLOG_LEVEL=two\n')
    const run = runCli(
      t,
      ['session', 'list', 'ada@example.com'],
      {},
      { cwd: folder, env: { LOG_LEVEL: 'three' } }
    )
    t.equal(await run.exited, 2)
    t.match(run.stderr, /PORT: .*"one"/)
    t.match(run.stderr, /LOG_LEVEL: .*"three"/)
    rmSync(join(folder, '.env'))
    symlinkSync('.', join(folder, '.env'))
    const unreadable = runCli(t, ['retention'], {}, { cwd: folder })
    t.equal(await unreadable.exited, 2)
    t.match(unreadable.stderr, /^holdfast: \.env: the file cannot be read\n$/)
  }
)

t.test('O8: it is a command line like any other', embedded, async (t) => {
  const cases: { words: string[]; status: number; stdout?: RegExp; stderr?: RegExp }[] = [
    {
      words: [],
      status: 0,
      stdout:
        /^Usage: holdfast <command>\n\nHoldfast \d+\.\d+\.\d+: [^]*\n\nCommands:\n {2}start +Serves/
    },
    { words: ['--version'], status: 0, stdout: /^\d+\.\d+\.\d+\n$/ },
    { words: ['help', 'session', 'revoke'], status: 0, stdout: /^Usage: holdfast session revoke/ },
    {
      words: ['start', 'now'],
      status: 2,
      stderr:
        /^holdfast: too many arguments .*\nusage: holdfast start\n`holdfast help start` tells more\n$/
    },
    {
      words: ['sesion', 'lsit'],
      status: 2,
      stderr:
        /^holdfast: unknown command 'sesion'\n\(Did you mean session\?\)\nusage: holdfast <command>\n/
    },
    { words: ['session', 'lsit'], status: 2, stderr: /\(Did you mean list\?\)/ },
    {
      words: ['gateway'],
      status: 2,
      stderr:
        /^holdfast: a command is missing\n\nUsage: holdfast gateway <command>\n\nCommands:\n {2}create .*\n {2}list/
    },
    {
      words: ['help', 'migrat'],
      status: 2,
      stderr: /^holdfast: unknown command 'migrat'\n\(Did you mean migrate\?\)\n/
    },
    {
      words: ['constructor'],
      status: 2,
      stderr:
        /^holdfast: unknown command 'constructor'\nusage: holdfast <command>\n`holdfast help` tells more\n$/
    }
  ]
  await Promise.all(
    cases.map(async ({ words, status, stdout = /^$/, stderr = /^$/ }) => {
      const run = runCli(t, words, {})
      t.equal(await run.exited, status, words.join(' '))
      t.match(run.stdout, stdout)
      t.match(run.stderr, stderr)
    })
  )
  for (const line of helpFor([])
    .split('\n')
    .filter((line) => /^ {2}[a-z]/.test(line)))
    t.match(line, /^ {2}\S+( \S+)? {2,}\S/, 'each command has a description')
})

t.test(
  'O8: an option that a command does not have is wrong usage, also where a server carries it out',
  async (t) => {
    const { options } = await build(t)
    const run = runCli(t, ['session', 'list', 'ada@example.com', '--colour'], {
      baseUrl: 'http://localhost',
      ...options
    })
    t.equal(await run.exited, 2)
    t.match(run.stderr, /^holdfast: unknown option '--colour'\nusage: holdfast session list /)
  }
)

// A new user on the oldest supported Node sees no warning about it.
t.test(
  'O9: no package that is installed for production wants a newer Node than this one does',
  embedded,
  (t) => {
    const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      engines: { node: string }
    }
    const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(engines.node)?.map(Number) ?? []
    const oldest: [number, number] = [major ?? NaN, minor ?? NaN]
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<
        string,
        { dev?: boolean; devOptional?: boolean; engines?: { node?: string } }
      >
    }
    const tooNew = Object.entries(packages).filter(
      ([, { dev, devOptional, engines }]) =>
        !dev && !devOptional && engines?.node && !takes(engines.node, oldest)
    )
    t.strictSame(tooNew, [])
    t.end()
  }
)

t.test(
  'O11: HOST may have the brackets that IPv6 has in a URL; what cannot be listened on is named',
  embedded,
  async (t) => {
    const server = await serving(t, { host: '[::1]' }, '[::1]')
    t.match(server.stdout, /serving {2}http/)
    t.equal(await health({ HOST: '[::1]', PORT: new URL(server.url).port }), 0)
    t.throws(() => configFromEnvironment({ HOST: 'http://0.0.0.0' }), {
      message: 'HOST: must be a host name or an address (it is "http://0.0.0.0")'
    })
    const port = Number(new URL(server.url).port)
    for (const [host, message] of [
      ['::1', `PORT: ${port} is in use: stop what listens there, or set another`],
      ['192.0.2.1', 'HOST: 192.0.2.1 is no address of this machine'],
      ['nowhere.invalid', 'HOST: the name nowhere.invalid has no address']
    ] as const) {
      const [error] = (await once(createServer().listen(port, host), 'error')) as [Error]
      t.match(listenProblem(error, { host, port }, ['HOST', 'PORT']), {
        name: 'ConfigError',
        message
      })
    }
  }
)

t.test(
  "O11: the image's health check follows HOST and PORT, and starts no node",
  embedded,
  async (t) => {
    const { url, app } = await build(t)
    const { port } = new URL(url)
    for (const HOST of ['127.0.0.1', '0.0.0.0', '', 'localhost'])
      t.equal(await health({ HOST, PORT: port }), 0, HOST)
    app.holdfast.drain()
    t.equal(await health({ HOST: '0.0.0.0', PORT: port }), 1, 'the server is not ready')
    t.equal(
      await health({ HOST: '0.0.0.0', PORT: String(await freePort()) }),
      1,
      'there is no server'
    )
    const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8')
    t.match(dockerfile, /^HEALTHCHECK .* CMD \["bash", "docker\/health\.sh"\]$/m)
  }
)

t.test('O12: where Kubernetes set a variable, the message says so', async (t) => {
  t.throws(() => configFromEnvironment({ METRICS_PORT: 'tcp://10.0.0.1:9090' }), {
    message:
      /^METRICS_PORT: .*Kubernetes sets this variable for a Service of the name metrics.*enableServiceLinks: false/
  })
  t.throws(() => configFromEnvironment({ METRICS_PORT: 'nine' }), {
    message: /^METRICS_PORT: (?!.*Kubernetes)/
  })
})

t.test(
  'O19: the banner comes when it serves, and until then it says what it waits for',
  production,
  async (t) => {
    const store = await freshStore(t)
    const target = new URL(store.databaseUrl ?? '')
    const port = await freePort()
    const away = `${target.protocol}//${target.username}${target.password ? `:${target.password}` : ''}@127.0.0.1:${port}${target.pathname}`
    const [alone, several] = (await Promise.all(
      [1, 2].map(async (workers) => {
        const options = {
          ...store,
          databaseUrl: away,
          port: await freePort(),
          baseUrl: 'https://auth.example.com',
          workers
        }
        const server = runCli(t, ['start'], options)
        await until(
          'it to say that it waits',
          () => /^holdfast: waiting for .*\n/m.test(server.stderr),
          60_000
        )
        t.equal(
          server.stderr,
          `holdfast: waiting for PostgreSQL at 127.0.0.1:${port}, database ${target.pathname.slice(1)}: until it answers, requests are answered 503\n`
        )
        t.notMatch(server.stdout, /serving {2}/)
        return server
      })
    )) as [CliProcess, CliProcess]
    const gate = createServer((socket) => {
      const upstream = connect(Number(target.port || 5432), target.hostname)
      socket.pipe(upstream).pipe(socket)
      for (const end of [socket, upstream])
        end.on('error', () => {
          socket.destroy()
          upstream.destroy()
        })
    }).listen(port, '127.0.0.1')
    t.teardown(() => gate.close())
    for (const { stdout } of [alone, several]) t.notMatch(stdout, 'ada@example.com')
    await until(
      'both to serve',
      () =>
        [alone, several].every(({ stdout }) =>
          /serving {2}https:\/\/auth\.example\.com/.test(stdout)
        ),
      30_000
    )
    for (const server of [alone, several]) {
      t.equal(server.stdout.match(/serving {2}/g)?.length, 1)
      t.notMatch(server.stdout, /ada@example\.com|curl/)
      t.equal(await server.kill('SIGTERM'), 0)
    }
  }
)

t.test(
  'O19: a newcomer is told where it serves, where the data is, and how to go on',
  embedded,
  async (t) => {
    const text = banner(resolveConfig({}))
    for (const word of [
      /serving {2}http:\/\/localhost:3000\n/,
      /data {5}the embedded store in \//,
      /docs {5}http/,
      /sign-up\/email/,
      /user set-role ada@example\.com admin/
    ])
      t.match(text, word)
    t.notMatch(banner(resolveConfig({ signUp: 'closed' })), /sign-up/)
    t.notMatch(
      banner(resolveConfig({ baseUrl: 'https://auth.example.com' })),
      /curl|ada@example\.com/
    )
  }
)

/** A server process that has reported that it is ready. */
async function serving(
  t: Test,
  options: Parameters<typeof runCli>[2],
  host = '127.0.0.1'
): Promise<CliProcess & { url: string }> {
  const port = await freePort()
  const url = `http://${host}:${port}`
  const server = runCli(t, ['start'], {
    ...(await freshStore(t)),
    baseUrl: url,
    logLevel: 'warn',
    ...options,
    port
  })
  await until('the server to serve', () => server.stdout.includes('serving  '), 60_000)
  t.ok(await isAlive(url))
  return Object.assign(server, { url })
}

/** Whether a range of Node versions (`^18.19 || >=20.6`) includes this one. */
function takes(range: string, [major, minor]: [number, number]): boolean {
  return range.split('||').some((part) => {
    const [, operator = '', first = '', second = '0'] =
      /^\s*(>=?|\^|~|)\s*v?(\d+)(?:\.(\d+))?/.exec(part) ?? ['', '>=', '0']
    const [from, fromMinor] = [Number(first), Number(second)]
    return (operator.startsWith('>') && from < major) || (from === major && fromMinor <= minor)
  })
}

/** The variables for which an environment is refused. */
function problems(env: Record<string, string>): (string | undefined)[] {
  try {
    configFromEnvironment(env)
    return []
  } catch (error) {
    return (error as Error).message.split('\n').map((line) => /^(\w+)/.exec(line)?.[1])
  }
}

/** The settings that a misspelt variable may mean. */
function meant(name: string, value = 'x'): (string | undefined)[] {
  return configFromEnvironment({ [name]: value }).misspelt.map(
    (line) => /: ([A-Z_]+) is one$/.exec(line)?.[1]
  )
}

/** The exit code of the image's health check. */
function health(env: Record<string, string>): Promise<number> {
  return new Promise((resolve) => {
    execFile(
      'bash',
      [join(root, 'docker/health.sh')],
      { env: { PATH: process.env['PATH'], ...env } },
      (error) => resolve(error ? Number(error.code) : 0)
    )
  })
}
