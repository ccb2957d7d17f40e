import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import t from 'tap'
import { configFromEnvironment } from '../../src/config.js'
import { build } from '../support/server.js'
import {
  DRAIN_SECONDS,
  missingSettings,
  projectRoot,
  publicPages,
  publicRoutes,
  readProject,
  readYaml,
  requiredSettings,
  secondsToEnd,
  unknownSettings,
  writeSecrets,
  type Settings
} from '../support/manifests.js'

/*
 * The rest of a deployment: systemd's unit, the image, what can be checked of the proxies without
 * running them, and the page that describes all of it.
 */
const folder = mkdtempSync(join(tmpdir(), 'holdfast-deployment-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

t.test('O10: what a deployment sets is a setting, and near misses are found', async (t) => {
  const names = [
    'BASE_URL',
    'AUTH_SECRET',
    'DATABASE_URL',
    'REDIS_URL',
    'HOST',
    'PORT',
    'TRUSTED_PROXIES',
    'METRICS_PORT'
  ]
  t.strictSame(
    requiredSettings,
    names,
    'the documentation names the settings that production needs'
  )
  t.strictSame(unknownSettings(requiredSettings), [])
  t.strictSame(
    unknownSettings(['BASE_URI', 'TRUSTED_PROXY', 'METRICS_PORT_FILE', 'AUTH_SECRET_FILE']),
    ['BASE_URI', 'TRUSTED_PROXY', 'METRICS_PORT_FILE']
  )
  t.equal(DRAIN_SECONDS, 10)
})

const hasAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0
t.test(
  'O10: systemd takes its unit, which has its settings and secrets, and can do what it must',
  async (t) => {
    const unit = readProject('examples/holdfast.service')
    const valuesOf = (key: string) =>
      [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value)
    const [file = ''] = valuesOf('EnvironmentFile')
    t.equal(file, '/etc/holdfast/holdfast.env')
    const own = Object.fromEntries(
      valuesOf('Environment').map((line) => [
        line.split('=', 1)[0] ?? '',
        line.slice(line.indexOf('=') + 1)
      ])
    )
    const env = { ...(parseEnv(readProject('examples/holdfast.env')) as Settings), ...own }
    t.strictSame(unknownSettings(Object.keys(env)), ['NODE_ENV'])
    t.strictSame(missingSettings(env), [])
    const credentials = valuesOf('LoadCredential').map(
      (line) => line.split(':') as [string, string]
    )
    for (const [name, path] of Object.entries(env).filter(([name]) => name.endsWith('_FILE'))) {
      t.ok(
        credentials.some(([id, source]) => path === `%d/${id}` && source === `/etc/holdfast/${id}`),
        `${name}: ${path}`
      )
    }
    const { config, misspelt } = configFromEnvironment({
      ...env,
      ...writeSecrets(folder, env, randomBytes(48).toString('base64'))
    })
    t.strictSame(misspelt, [])
    t.match(config, {
      host: '127.0.0.1',
      metricsPort: 9464,
      workers: 2,
      trustedProxies: ['127.0.0.1']
    })

    const cli = 'dist/src/cli/main.js'
    t.ok(existsSync(join(projectRoot, cli)), cli)
    t.strictSame(
      [...valuesOf('ExecStartPre'), ...valuesOf('ExecStart')],
      ['migrate', 'start'].map((command) => `/usr/bin/node --enable-source-maps ${cli} ${command}`)
    )
    t.ok(
      Number(valuesOf('TimeoutStopSec')[0]) > secondsToEnd(env),
      'the server has time to end by itself'
    )
    t.match(unit, /^Restart=on-failure$/m)
    t.match(unit, /^RestartPreventExitStatus=2$/m)

    if (!hasAnalyze) return t.comment('systemd-analyze is not installed')
    const path = join(folder, 'holdfast.service')
    writeFileSync(path, unit.replaceAll('/usr/bin/node', process.execPath))
    const verified = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' })
    t.strictSame(
      [
        verified.status,
        verified.stderr.split('\n').filter((line) => line.includes('holdfast.service'))
      ],
      [0, []]
    )
    writeFileSync(path, unit.replace('ProtectSystem=', 'ProtectSytem='))
    t.match(
      spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' }).stderr,
      /ProtectSytem/,
      'a misspelt key is found'
    )
    writeFileSync(path, unit)
    // 1.3 of 10, in tenths. The rest is the network, and that Node compiles.
    const exposed = spawnSync(
      'systemd-analyze',
      ['security', '--offline=true', '--threshold=15', path],
      { encoding: 'utf8' }
    )
    t.equal(
      exposed.status,
      0,
      exposed.stdout.split('\n').findLast((line) => line.includes('exposure')) ?? exposed.stderr
    )
  }
)

t.test(
  'O10: every proxy asks questions that there are, and serves nothing of this side',
  async (t) => {
    const { app } = await build(t, {
      baseUrl: 'https://app.example.com',
      trustedProxies: ['127.0.0.1']
    })
    const asked = {
      accept: 'text/html',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'app.example.com',
      'x-forwarded-uri': '/'
    }
    for (const file of [
      'nginx.conf',
      'Caddyfile',
      'haproxy.cfg',
      'apache.conf',
      'traefik.yml',
      'envoy.yaml'
    ]) {
      const text = readProject(`examples/${file}`)
        .replaceAll(/^\s*#.*$/gm, '')
        .replaceAll(/\{\$[A-Z_]+:([^}]*)\}/g, '$1')
      for (const inner of ['/metrics', '/health', '/docs', '/openapi.json'])
        t.notMatch(text, inner, `${file} does not serve ${inner}`)
      for (const port of [3000, 4000, 4001, 4002])
        t.match(text, new RegExp(`\\b${port}\\b`), `${file}: the port ${port}`)
      // Holdfast answers 400 to a request that it does not understand. No user is signed in here.
      const questions = [
        ...text.matchAll(/\/verify(?:\/for\/[\w*,]+|\?[^\s"'};]+)?(?=[\s"'};])/g)
      ].map(([question]) => question)
      t.ok(questions.length >= 2, `${file}: ${questions.join(' ')}`)
      for (const question of new Set(questions)) {
        const { statusCode, headers } = await app.inject({ url: question, headers: asked })
        t.ok([302, 401].includes(statusCode), `${file}: ${question} ${statusCode}`)
        const leads = question.includes('redirect=')
        t.equal(
          headers.location,
          leads
            ? 'https://app.example.com/sign-in?return_to=https%3A%2F%2Fapp.example.com%2F'
            : undefined
        )
      }
      for (const word of ['admin', ...(file === 'envoy.yaml' ? [] : ['redirect='])]) {
        t.ok(
          questions.some((question) => question.includes(word)),
          `${file}: ${word}`
        )
      }
    }
  }
)

const lowerCase = (names: string[]) => names.map((name) => name.toLowerCase())
const decisive = [
  'Authorization',
  'Cookie',
  'Origin',
  'Sec-Fetch-Site',
  'Sec-Fetch-Mode',
  'Sec-WebSocket-Key',
  'Accept',
  'Access-Control-Request-Method'
]
const identity = ['Remote-User', 'Remote-Email', 'Remote-Name', 'Remote-Groups', 'X-Session-Id']
const own = [...publicRoutes, ...publicPages].map((path) =>
  path.endsWith('/') ? `${path}x` : path
)
const others = [
  '/',
  '/orders',
  '/api/orders',
  '/staff/',
  '/session/x',
  '/sessionsx',
  '/sign-inx',
  '/verify',
  '/metrics',
  '/health/ready',
  '/docs',
  '/.well-known/x'
]

interface Traefik {
  http: {
    routers: Record<string, { middlewares?: string[]; service: string; rule: string; tls: unknown }>
    middlewares: Record<
      string,
      {
        forwardAuth?: {
          trustForwardHeader: boolean
          authRequestHeaders: string[]
          authResponseHeaders: string[]
        }
      }
    >
    services: Record<string, unknown>
  }
}

t.test("O10: Traefik's parts fit each other, and let the same routes through", async (t) => {
  const [{ http }] = readYaml(readProject('examples/traefik.yml')) as [Traefik]
  const questionsOf = (names: string[]) =>
    names.flatMap((name) => http.middlewares[name]?.forwardAuth ?? [])
  for (const [name, { middlewares = [], service, rule, tls }] of Object.entries(http.routers)) {
    t.ok(
      service in http.services && middlewares.every((middleware) => middleware in http.middlewares),
      name
    )
    t.ok(rule.startsWith('Host(`app.example.com`)') && tls, name)
    t.equal(
      questionsOf(middlewares).length,
      service === 'holdfast' ? 0 : 1,
      `${name} checks, or leads to Holdfast`
    )
    if (service !== 'holdfast')
      t.strictSame([middlewares[0], middlewares.at(-1)], ['strip-identity', 'strip-cookies'], name)
  }
  for (const { trustForwardHeader, authRequestHeaders, authResponseHeaders } of questionsOf(
    Object.keys(http.middlewares)
  )) {
    t.strictSame(
      [trustForwardHeader, authRequestHeaders, authResponseHeaders],
      [false, decisive, identity]
    )
  }
  const rules = Object.values(http.routers)
    .filter(({ service }) => service === 'holdfast')
    .map(({ rule }) => rule)
  const matchers = rules.flatMap((rule) => [...rule.matchAll(/\b(Path|PathPrefix)\(`([^`]+)`\)/g)])
  const isOwn = (path: string) =>
    matchers.some(([, kind, value = '']) =>
      kind === 'Path' ? path === value : path.startsWith(value)
    )
  for (const path of own) t.ok(isOwn(path), path)
  for (const path of others) t.notOk(isOwn(path), path)
})

t.test("O10: Envoy's parts fit each other, and let the same routes through", async (t) => {
  const text = readProject('examples/envoy.yaml')
  const [
    {
      static_resources: { clusters }
    }
  ] = readYaml(text) as [{ static_resources: { clusters: { name: string }[] } }]
  for (const [, cluster = ''] of text.matchAll(/cluster: (\w+)/g))
    t.ok(
      clusters.some(({ name }) => name === cluster),
      cluster
    )
  const filters = [...text.matchAll(/^ {18}- name: ([\w.-]+)$/gm)].map(([, name = '']) => name)
  t.strictSame(filters.slice(1), [
    'envoy.filters.http.header_mutation',
    'holdfast-signed-in',
    'holdfast-admin',
    'strip-cookies',
    'envoy.filters.http.router'
  ])
  for (const [, name = ''] of text.matchAll(/^ {28}([\w.-]+): \{ "@type"/gm))
    t.ok(filters.includes(name), `${name} is a filter that a route can leave out`)
  const listed = (key: string) =>
    [...text.matchAll(new RegExp(`${key}:\\s+patterns: (.*)`, 'g'))].map(([, list = '']) =>
      [...list.matchAll(/exact: ([\w-]+)/g)].map(([, name = '']) => name)
    )
  // ext_authz uses the method of the request. It needs no Accept, because it redirects no browser,
  // and no preflight headers.
  t.strictSame(listed('allowed_headers'), [
    lowerCase(decisive.slice(0, 6)),
    lowerCase(decisive.slice(0, 6))
  ])
  t.strictSame(listed('allowed_upstream_headers'), [lowerCase(identity), lowerCase(identity)])
  const [, regex = ''] = /safe_regex: \{ regex: "([^"]+)"/.exec(text) ?? []
  const isOwn = new RegExp(`^(?:${regex.replaceAll('\\\\', '\\')})$`)
  for (const path of own) t.match(path, isOwn)
  for (const path of others) t.notMatch(path, isOwn)
})

t.test('O10: the image is made of files that there are, and runs as nobody', async (t) => {
  const dockerfile = readProject('Dockerfile')
  const ignored = readProject('.dockerignore').split('\n').filter(Boolean)
  for (const [, files = ''] of dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) {
    for (const file of files.split(' '))
      t.ok(existsSync(join(projectRoot, file)) && !ignored.includes(file), file)
  }
  const [build = '', run = ''] = dockerfile.split(/^(?=FROM )/m)
  const made = [...run.matchAll(/^COPY --from=build \/app\/(\S+)/gm)].map(([, path = '']) => path)
  t.strictSame(made, ['package.json', 'node_modules', 'prisma', 'dist'])
  t.match(build, /npm ci[^]*npm run build && npm prune --omit=dev/)
  for (const path of ['.env*', '.git', 'node_modules', 'test', 'dist', '.data', '*.log'])
    t.ok(ignored.includes(path), path)
  t.notMatch(
    dockerfile,
    /^(?:ARG|ENV)\b.*(?:SECRET|PASSWORD|TOKEN|_URL)/im,
    'the image contains no secret'
  )
  const env = Object.fromEntries(
    [...(/^ENV (.*)$/m.exec(run)?.[1] ?? '').matchAll(/(\w+)=(\S+)/g)].map(
      ([, name = '', value = '']) => [name, value]
    )
  )
  t.strictSame(unknownSettings(Object.keys(env)), ['NODE_ENV'])
  t.equal(env['PORT'], /^EXPOSE (\d+)$/m.exec(run)?.[1])
})

t.test('O10: the documentation of a deployment names files that there are', async (t) => {
  const page = readProject('docs/deployment.md')
  for (const [, link = ''] of page.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g))
    t.ok(existsSync(join(projectRoot, 'docs', link)), link)
  for (const [, name = ''] of page.matchAll(/`([A-Z][A-Z_]{3,})`/g))
    if (!['FLUSHDB', 'SIGTERM'].includes(name)) t.strictSame(unknownSettings([name]), [], name)
  t.match(readProject('README.md'), '(docs/deployment.md)')
})
