import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { installed, manifest } from './guest/project.js'
import { freshStore } from '../support/server.js'

/** Declarations that the README's lines assume. */
const AROUND = `
import type { FastifyInstance } from 'fastify'

declare global {
  const app: FastifyInstance
  const databaseUrl: string
  const authSecret: string
  function ordersOf(userId: string): Promise<object>
  function dashboard(): Promise<object>
}
`

/** Guards and options, as applications of every kind use them. */
const GUARDS = `
import Fastify from 'fastify'
import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import holdfast, { identityOf, type Check, type HoldfastOptions, type Identity, type PluginOptions } from 'holdfast'

const options: HoldfastOptions = { databaseUrl: process.env['DATABASE_URL'], authSecret: process.env['AUTH_SECRET'] }
const app = Fastify()
await app.register(holdfast, { prefix: '/identity', ...options, onUnfit: (error) => console.error(error.message) } satisfies PluginOptions)
app.get<{ Params: { id: string } }>('/a/:id', { preHandler: app.requireSession }, async (request) => request.identity.user.id + request.params.id)
app.post<{ Body: { n: number } }>('/b', { preHandler: [app.requireSession, app.requireRole('a', 'b')] }, async (request) => request.body.n)
app.route({ method: 'GET', url: '/c', onRequest: app.requireSession, handler: async (request) => identityOf(request).session.expiresAt.getTime() })
app.addHook('preHandler', app.requireSession)
await app.register(async (scope) => {
  scope.addHook('onRequest', scope.requireRole('admin'))
  scope.get('/d', async (request): Promise<Identity> => request.identity)
})
app.withTypeProvider<TypeBoxTypeProvider>()
  .get('/e/:id', { preHandler: app.requireSession, schema: { params: Type.Object({ id: Type.String() }) } }, async (request) => request.identity.user.id + request.params.id)
const check: Check = await app.holdfast.reader.check({ kind: 'signed', value: 'x' })
if (check.active) check.user.roles.includes('admin')
// @ts-expect-error a setting that there is not
await app.register(holdfast, { databseUrl: 'x' })

const http2 = Fastify({ http2: true })
await http2.register(holdfast, { prefix: '/identity' })
http2.get('/a', { preHandler: http2.requireSession }, async (request) => request.identity.user.id + identityOf(request).user.id)
const https = Fastify({ https: {} })
await https.register(holdfast)
https.get('/a', { preHandler: https.requireRole('admin') }, async (request) => request.identity.user.id)
`

/** The same in CommonJS. */
const REQUIRE = `
import Fastify = require('fastify')
import holdfast = require('holdfast')

const app = Fastify()
void app.register(holdfast.default, { prefix: '/identity' }).then(() => {
  app.get('/a', { preHandler: app.requireSession }, async (request) => request.identity.user.id + holdfast.identityOf(request).user.id)
})
`

const project = installed(t)
const files = readdirSync(project.package, { recursive: true, encoding: 'utf8' }).filter((name) =>
  statSync(join(project.package, name)).isFile()
)
const read = (name: string) => readFileSync(join(project.package, name), 'utf8')

t.test('H8: the package can be published, and has in it what it needs and no more', (t) => {
  const {
    private: isPrivate,
    license,
    peerDependencies,
    dependencies,
    scripts,
    bin,
    engines
  } = manifest as typeof manifest & Record<string, Record<string, string>>
  t.strictSame(
    { isPrivate, license, peerDependencies },
    { isPrivate: undefined, license: 'MIT', peerDependencies: { fastify: '^5.6.0', react: '>=18' } }
  )
  t.notOk('fastify' in dependencies, 'the application provides Fastify')
  t.match(scripts, { prepack: /npm run --silent build/ })
  t.match(engines, { node: '>=20.19' })
  t.match(read('LICENSE'), /^MIT License/)
  t.match(read(bin?.['holdfast'] ?? ''), /^#!\/usr\/bin\/env node\n/)
  const kinds = [
    /^(LICENSE|(README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|package\.json|\.env\.example)$/,
    /^dist\/(src|plugins|prisma)\/[\w./-]+\.js$/,
    /^dist\/[\w./-]+\.d\.ts$/,
    /^prisma\/(schema\.prisma|migrations\/)/,
    /^(docs|examples)\//
  ]
  t.strictSame(
    files.filter((name) => !kinds.some((kind) => kind.test(name))),
    []
  )
  for (const name of files.filter((each) => each.endsWith('.d.ts'))) {
    for (const [, from = ''] of read(name).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g))
      t.ok(
        existsSync(join(project.package, dirname(name), from.replace(/\.js$/, '.d.ts'))),
        `${name} finds ${from}`
      )
  }
  t.end()
})

t.test('H8: links of the package lead to what is in it', (t) => {
  for (const name of files.filter((each) => each.endsWith('.md'))) {
    for (const [, target = ''] of read(name).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) {
      const path = relative(project.package, join(project.package, dirname(name), target))
      t.ok(!path.startsWith('..') && existsSync(join(project.package, path)), `${name}: ${target}`)
    }
  }
  t.end()
})

t.test('H1: the lines of the README compile, and guards fit every application', async (t) => {
  const block =
    [...read('README.md').matchAll(/```ts\n([^]*?)```/g)]
      .map(([, lines = '']) => lines)
      .find((lines) => lines.includes("from 'holdfast'")) ?? ''
  t.match(block, /request\.identity\.user\.id/)
  const sources = join(project.folder, 'types')
  mkdirSync(sources)
  const write = (name: string, text: string) => writeFileSync(join(sources, name), text)
  write('readme.ts', block)
  write('around.d.ts', AROUND)
  write('guards.ts', GUARDS)
  write('require.cts', REQUIRE)
  writeFileSync(join(sources, 'package.json'), '{ "type": "module" }\n')
  const { resolve } = createRequire(import.meta.url)
  const compilers = ['typescript-5.9', 'typescript', 'typescript-7'].map((name) => ({
    name,
    path: tryOrNull(() => join(dirname(resolve(`${name}/package.json`)), 'bin/tsc'))
  }))
  t.ok(compilers.every(({ path }) => path !== null))
  await Promise.all(
    compilers.flatMap(({ name, path }) =>
      ['nodenext', 'bundler'].map(async (resolution) => {
        const module = resolution === 'bundler' ? 'esnext' : resolution
        const named =
          resolution === 'bundler'
            ? ['readme.ts', 'guards.ts']
            : ['readme.ts', 'guards.ts', 'require.cts']
        const { status, stdout } = await project.run(
          [
            path ?? '',
            '--noEmit',
            '--strict',
            '--exactOptionalPropertyTypes',
            '--skipLibCheck',
            '--target',
            'es2023',
            '--types',
            'node',
            '--module',
            module,
            '--moduleResolution',
            resolution,
            'around.d.ts',
            ...named
          ],
          { cwd: sources }
        )
        t.equal(status, 0, `${name}, ${resolution}: ${stdout}`)
      })
    )
  )
})

t.test('H1: `require` gives the plugin', async (t) => {
  const script = `
    const holdfast = require('holdfast')
    const app = require('fastify')({ pluginTimeout: 120_000 })
    app.register(holdfast, { ...${JSON.stringify(await freshStore(t))}, prefix: '/identity', baseUrl: 'http://localhost', rateLimit: false })
    app.get('/guarded', { preHandler: (request, reply) => app.requireSession(request, reply) }, async (request) => holdfast.identityOf(request))
    app.inject('/guarded').then(async ({ statusCode }) => {
      console.log(JSON.stringify({ statusCode, names: Object.keys(holdfast).sort() }))
      await app.close()
    })`
  const { stdout, stderr } = await project.run(['--input-type=commonjs', '--eval', script])
  t.strictSame(JSON.parse(stdout || '{}'), {
    statusCode: 401,
    names: ['MailRefused', '__esModule', 'default', 'identityOf'].filter((name) =>
      stdout.includes(name)
    )
  })
  t.notMatch(stderr, /Error/)
})

t.test(
  'H8: the command line of the package finds its help, its version and its migrations',
  async (t) => {
    const cli = join(
      project.package,
      manifest['bin'] ? ((manifest['bin'] as Record<string, string>)['holdfast'] ?? '') : ''
    )
    const [help, version, failed] = await Promise.all(
      [['--help'], ['--version'], ['migrate', 'x']].map((args) => project.run([cli, ...args]))
    )
    t.match(help, { status: 0, stdout: /Usage: holdfast <command>/ })
    t.match(version, { status: 0, stdout: `${manifest.version}\n` })
    t.match(failed, { status: 2 })
    const migrated = await project.run([cli, 'migrate'], {
      env: { DATA_DIR: join(project.folder, 'data') }
    })
    t.match(migrated, { status: 0, stdout: /^{"applied":\["\d+_init",/ }, migrated.stderr)
  }
)

function tryOrNull<T>(find: () => T): T | null {
  try {
    return find()
  } catch {
    return null
  }
}
