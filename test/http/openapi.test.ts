import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { buildWithMail } from '../support/page-mail.js'
import { build } from '../support/server.js'
import { Answers } from '../support/answers.js'

const running = await build(t, { oneTimeTokens: true })
const { url, app } = running

interface Document {
  openapi: string
  paths: Record<string, Record<string, { responses: Record<string, unknown> }>>
}

const document = (await (await fetch(`${url}/openapi.json`)).json()) as Document

t.test('the document is valid OpenAPI 3.1', async (t) => {
  t.match(document.openapi, /^3\.1\./)
  const result = await new Validator().validate(structuredClone(document) as never)
  t.ok(result.valid, JSON.stringify(result.errors)?.slice(0, 2000))
})

t.test('it describes every route, ours and those of better-auth', (t) => {
  for (const [path, method] of [
    ['/session', 'get'],
    ['/sessions', 'get'],
    ['/sessions', 'delete'],
    ['/sessions/{id}', 'delete'],
    ['/sessions/{id}/events', 'get'],
    ['/account/events', 'get'],
    ['/api/auth/admin/list-user-events', 'get'],
    ['/api/auth/admin/list-user-session-history', 'get'],
    ['/api/auth/admin/list-session-events', 'get'],
    ['/api/auth/admin/list-events', 'get'],
    ['/health/live', 'get'],
    ['/health/ready', 'get'],
    ['/api/auth/sign-in/email', 'post'],
    ['/api/auth/sign-up/email', 'post'],
    ['/api/auth/sign-out', 'post'],
    ['/api/auth/two-factor/verify-totp', 'post'],
    ['/api/auth/admin/ban-user', 'post'],
    ['/api/auth/one-time-token/generate', 'get']
  ] as const)
    t.ok(document.paths[path]?.[method], `${method} ${path}`)
  // Fastify's routes that the document does not name.
  const routes = app.printRoutes({ commonPrefix: false, includeHooks: false })
  t.match(routes, /openapi\.json/)
  const named = Object.keys(document.paths).filter((path) => !path.startsWith('/api/auth')).length
  t.ok(named >= 6)
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, { responses }] of Object.entries(operations))
      t.ok(
        Object.keys(responses).some((status) => status.startsWith('2') || status.startsWith('3')),
        `${method} ${path} describes a success`
      )
  }
  t.end()
})

t.test(
  'it describes what is mailed where mail is on, and no GET that acts on a link',
  async (t) => {
    const mailed = [
      '/sign-in/email-otp',
      '/sign-in/magic-link',
      '/magic-link/verify',
      '/email-otp/send-verification-otp',
      '/email-otp/reset-password',
      '/email-otp/verify-email',
      '/email-otp/change-email',
      '/verify-email',
      '/describe-link',
      '/not-me',
      '/admin/send-password-reset'
    ]
    const { url } = await buildWithMail(t)
    const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as Document
    t.strictSame(
      mailed.filter((path) => paths[`/api/auth${path}`]?.['post'] === undefined),
      []
    )
    const ofServers = app.holdfast.mail === null ? [paths, document.paths] : [paths]
    for (const described of ofServers)
      for (const path of [...mailed, '/reset-password/{token}', '/delete-user/callback'])
        t.equal(described[`/api/auth${path}`]?.['get'], undefined, `no GET of ${path}`)
    if (app.holdfast.mail === null)
      t.strictSame(
        mailed.filter((path) => document.paths[`/api/auth${path}`] !== undefined),
        [],
        'without mail there are none of them'
      )
  }
)

t.test('the page shows it, with nothing from elsewhere', async (t) => {
  const page = await fetch(`${url}/docs`)
  t.equal(page.status, 200)
  t.match(page.headers.get('content-type'), /^text\/html/)
  const policy = page.headers.get('content-security-policy') ?? ''
  t.match(policy, /default-src 'none'/)
  t.notMatch(policy, /unsafe-eval|https:|script-src[^;]*unsafe-inline/)
  const html = await page.text()
  t.notMatch(html, /(src|href)="(https?:)?\/\//)
  t.notMatch(html, /<script>(?!<)/, 'the page contains no script')
  for (const [, path = ''] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
    const part = await fetch(new URL(path, `${url}/docs`))
    t.equal(part.status, 200, path)
    await part.arrayBuffer() // an unread megabyte would keep the server from closing
  }
  t.strictSame(await (await fetch(`${url}/docs/json`)).json(), document)
})

t.test('an answer that is not described is noticed', async (t) => {
  const answers = new Answers(app.server)
  await fetch(`${url}/session`)
  await fetch(`${url}/health/live`)
  t.strictSame(answers.undocumented(document as never), [])
  const without = structuredClone(document)
  delete without.paths['/session']?.['get']?.responses['401']
  t.match(answers.undocumented(without as never), [
    /get \/session 401: the status is not described/
  ])
  delete without.paths['/health/live']
  t.match(answers.undocumented(without as never), [
    /status is not described/,
    /get \/health\/live answered 200 and is not described/
  ])
  const live = structuredClone(document)
  Object.assign(live.paths['/health/live']?.['get']?.responses ?? {}, {
    200: { content: { 'application/json': { schema: { type: 'object', required: ['colour'] } } } }
  })
  t.match(answers.undocumented(live as never), [/must have required property 'colour'/])
})
