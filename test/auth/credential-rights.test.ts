import t, { type Test } from 'tap'
import { newAdmin, newPerson, withCookiesOf } from '../support/device.js'
import {
  Browser,
  build,
  makeAdmin,
  password,
  proveAddress,
  sessionState,
  signIn,
  signUp,
  storage,
  type Person
} from '../support/server.js'
import { inTurnAtUser } from '../support/locks.js'
import { buildWithMail } from '../support/page-mail.js'
import { until } from '../support/poll.js'

const AUDIENCE = 'https://api.example.com'
const running = await build(t, { accessTokenAudience: AUDIENCE, roles: ['editor', 'auditor'] })
const { url } = running
const { prisma, accessTokens, auth } = running.app.holdfast
const newPassword = 'Tr0ub4dor & three more words'

/** An access token from a sign-in as an app does it. */
async function appOf({ email }: Person): Promise<{ accessToken: string; sessionId: string }> {
  const response = await call('/sign-in/email', { email, password }, { 'token-transport': 'body' })
  const { tokens } = (await response.json()) as {
    tokens: { access_token: string; session_id: string }
  }
  return { accessToken: tokens.access_token, sessionId: tokens.session_id }
}

function call(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
  method = 'POST'
): Promise<Response> {
  return fetch(`${url}/api/auth${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    ...(method === 'POST' ? { body: JSON.stringify(body) } : {})
  })
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

async function answers(
  t: Test,
  response: Response,
  status: number,
  cause: string,
  what: string
): Promise<void> {
  t.equal(response.status, status, what)
  t.match(await response.json(), { cause }, what)
}

t.test('S2: an access token is no administrator, and may do what stands on a list', async (t) => {
  const admin = await newAdmin(running)
  const ada = await signUp(url)
  const { accessToken } = await appOf(admin)
  const email = `${crypto.randomUUID()}@example.com`
  const before = {
    users: await prisma.user.count(),
    ada: await prisma.user.findUnique({ where: { id: ada.id } })
  }
  const refused: [string, unknown, string?][] = [
    ['/admin/create-user', { email, password, name: 'Eve', role: 'admin' }],
    ['/admin/set-user-password', { userId: ada.id, newPassword }],
    ['/admin/set-role', { userId: ada.id, role: 'admin' }],
    ['/admin/update-user', { userId: ada.id, data: { role: 'admin' } }],
    ['/admin/ban-user', { userId: ada.id }],
    ['/admin/remove-user', { userId: ada.id }],
    ['/admin/impersonate-user', { userId: ada.id }],
    ['/admin/revoke-user-sessions', { userId: ada.id }],
    ['/admin/list-user-sessions', { userId: ada.id }],
    ['/admin/list-users', null, 'GET'],
    [`/admin/get-user?id=${ada.id}`, null, 'GET'],
    ['/admin/has-permission', { permissions: { user: ['create'] } }],
    ['/list-accounts', null, 'GET'],
    ['/delete-user', {}],
    ['/delete-user', { password: '' }],
    ['/change-email', { newEmail: email }],
    ['/unlink-account', { accountId: 'credential' }]
  ]
  for (const [path, body, method] of refused)
    await answers(
      t,
      await call(path, body, bearer(accessToken), method),
      403,
      'access_token_insufficient',
      path
    )
  t.strictSame(
    {
      users: await prisma.user.count(),
      ada: await prisma.user.findUnique({ where: { id: ada.id } })
    },
    before,
    'nothing changed'
  )
  t.equal(await sessionState(ada.browser), 'valid')
  t.equal(
    (await call('/admin/list-users', null, bearer(admin.bearer), 'GET')).status,
    200,
    'a session token is enough'
  )
})

t.test('S2: with the password in the same request it may do more', async (t) => {
  const ada = await signUp(url)
  const { accessToken, sessionId } = await appOf(ada)
  for (const [path, method] of [
    ['/get-session', 'GET'],
    ['/list-sessions', 'GET']
  ] as const)
    t.equal((await call(path, null, bearer(accessToken), method)).status, 200, path)
  t.equal((await call('/update-user', { name: 'Ada King' }, bearer(accessToken))).status, 200)
  t.equal((await call('/verify-password', { password }, bearer(accessToken))).status, 200)
  t.equal(
    (await call('/delete-user', { password: 'wrong horse battery' }, bearer(accessToken))).status,
    400
  )
  t.equal((await call('/delete-user', { password }, bearer(accessToken))).status, 200)
  t.equal(await prisma.user.count({ where: { id: ada.id } }), 0)
  t.equal(await prisma.account.count({ where: { userId: ada.id } }), 0)
  t.equal(
    (await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })).revokedReason,
    'user_deleted'
  )
})

t.test('S2: it sends along the code of a mail, and is told what is wrong with that', async (t) => {
  const { url, app, mails } = await buildWithMail(t)
  const ada = await signUp(url)
  const { code: otp } = await mails.read(ada.email, /^Confirm your address/)
  const phone = new Browser(url)
  const begun = await phone.post(
    '/api/auth/sign-in/email',
    { email: ada.email, password },
    { 'token-transport': 'body' }
  )
  const { tokens } = (await begun.json()) as { tokens: { access_token: string } }
  const headers = {
    ...bearer(tokens.access_token),
    'mail-challenge': ada.browser.cookies.get(app.holdfast.auth.mailCookie) ?? ''
  }
  const verify = (code: string) =>
    phone.post('/api/auth/email-otp/verify-email', { email: ada.email, otp: code }, headers)
  t.match(await (await verify(otp === '000000' ? '000001' : '000000')).json(), {
    code: 'INVALID_OTP'
  })
  t.equal((await verify(otp)).status, 200)
  t.match(
    await (
      await phone.post('/api/auth/send-verification-email', { email: ada.email }, headers)
    ).json(),
    { code: 'EMAIL_ALREADY_VERIFIED' }
  )
})

t.test('S2: other spellings of a path are the same path, or none', async (t) => {
  const admin = await newAdmin(running)
  const ada = await signUp(url)
  const { accessToken } = await appOf(admin)
  for (const path of [
    '/admin/set-role/',
    '/Admin/set-role',
    '/admin//set-role',
    '/admin/set%2Drole',
    '/admin%2Fset-role',
    '//admin/set-role',
    '/admin/set-role?a=/get-session',
    '/admin/set-role;get-session',
    '/get-session/../admin/set-role'
  ]) {
    const response = await call(path, { userId: ada.id, role: 'admin' }, bearer(accessToken))
    t.ok([403, 404].includes(response.status), `${path}: ${response.status}`)
    await response.body?.cancel()
  }
  t.equal((await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })).role, 'user')
})

t.test(
  'S2: an access token for another audience, or of another server, is none here, also when it has expired',
  async (t) => {
    const ada = await signUp(url)
    const { accessToken, sessionId } = await appOf(ada)
    const claims = JSON.parse(
      Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString()
    ) as { aud: string; exp: number }
    t.equal(claims.aud, AUDIENCE)
    const past = { iat: 1_000_000, exp: 1_000_300 }
    for (const changed of [
      { aud: 'https://other.example.com' },
      { aud: ['https://other.example.com'] },
      { iss: 'https://other.example.com' },
      { aud: undefined }
    ]) {
      for (const times of [{}, past]) {
        const token = await accessTokens.sign('at+jwt', { ...claims, ...changed, ...times })
        for (const [path, method] of [
          ['/get-session', 'GET'],
          ['/update-user', 'POST'],
          ['/sign-out', 'POST']
        ] as const) {
          const response = await call(path, { name: 'Eve' }, bearer(token), method)
          t.notOk(
            response.status === 200 && (await response.text()).includes(ada.id),
            `${path} ${JSON.stringify({ ...changed, ...times })}`
          )
        }
      }
    }
    t.match(
      await prisma.session.findUniqueOrThrow({ where: { id: sessionId } }),
      { revokedAt: null },
      'the session has not ended'
    )
    t.equal((await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })).name, 'Ada Lovelace')
  }
)

/**
 * For tests that hold one request while another one arrives: the embedded store has one connection.
 */
const onPostgres = { skip: storage === 'embedded' && 'one connection' }

for (const [what, lose] of [
  [
    'is banned',
    (chief: Person, id: string) => chief.browser.post('/api/auth/admin/ban-user', { userId: id })
  ],
  [
    'loses the role',
    (chief: Person, id: string) =>
      chief.browser.post('/api/auth/admin/set-role', { userId: id, role: 'user' })
  ],
  [
    'is signed out',
    (chief: Person, id: string) =>
      chief.browser.post('/api/auth/admin/revoke-user-sessions', { userId: id })
  ]
] as const) {
  t.test(
    `S8: an administrator who ${what} before a write commits has written nothing`,
    onPostgres,
    async (t) => {
      const [chief, ada] = [await newAdmin(running), await signUp(url)]
      for (const path of ['create-user', 'set-user-password'] as const) {
        const admin = await newAdmin(running)
        const email = `${crypto.randomUUID()}@example.com`
        const body =
          path === 'create-user'
            ? { email, password, name: 'Eve', role: 'admin' }
            : { userId: ada.id, newPassword }
        const write = () => admin.browser.post(`/api/auth/admin/${path}`, body)
        const [lost, written] = await inTurnAtUser(
          prisma,
          admin.id,
          () => lose(chief, admin.id),
          write
        )
        t.equal(lost?.status, 200)
        t.ok(
          [401, 403].includes(written?.status ?? 0),
          `${path}: ${written?.status} ${await written?.text()}`
        )
        t.equal(await prisma.user.count({ where: { email } }), 0, 'no user was created')
      }
      t.equal(
        await sessionState((await signIn(url, ada.email)).browser),
        'valid',
        'the password has not changed'
      )
    }
  )
}

t.test(
  'S8: a sign-in that lifts an expired ban does not lift one that is set at the same time',
  onPostgres,
  async (t) => {
    const admin = await newAdmin(running)
    const ada = await signUp(url)
    t.equal((await admin.browser.post('/api/auth/admin/ban-user', { userId: ada.id })).status, 200)
    const banExpires = new Date(Date.now() - 60_000)
    t.equal(
      (
        await admin.browser.post('/api/auth/admin/update-user', {
          userId: ada.id,
          data: { banExpires }
        })
      ).status,
      200
    )
    const ban = () => admin.browser.post('/api/auth/admin/ban-user', { userId: ada.id })
    const goIn = () =>
      new Browser(url).post('/api/auth/sign-in/email', { email: ada.email, password })
    const [banned, refused] = await inTurnAtUser(prisma, ada.id, ban, goIn)
    t.equal(banned?.status, 200)
    t.equal(refused?.status, 403)
    t.match(await refused?.json(), { code: 'BANNED_USER' })
    t.match(await prisma.user.findUniqueOrThrow({ where: { id: ada.id } }), {
      banned: true,
      banExpires: null
    })
    t.equal((await goIn()).status, 403, 'the next attempt is refused as well')
    t.equal(
      (await admin.browser.post('/api/auth/admin/unban-user', { userId: ada.id })).status,
      200
    )
    t.equal((await goIn()).status, 200)
  }
)

t.test(
  'S8: the first access token of a sign-in has the roles that the user has when it is answered',
  onPostgres,
  async (t) => {
    const [chief, admin] = [await newAdmin(running), await newAdmin(running)]
    const lose = () =>
      chief.browser.post('/api/auth/admin/set-role', { userId: admin.id, role: 'user' })
    const goIn = () =>
      call('/sign-in/email', { email: admin.email, password }, { 'token-transport': 'body' })
    const [changed, begun] = await inTurnAtUser(prisma, admin.id, lose, goIn)
    t.equal(changed?.status, 200)
    t.equal(begun?.status, 200)
    const { tokens } = (await (begun as Response).json()) as { tokens: { access_token: string } }
    t.match(
      JSON.parse(Buffer.from(tokens.access_token.split('.')[1] ?? '', 'base64url').toString()),
      { roles: ['user'] }
    )
  }
)

const stolen = 'the password of somebody else'
/** What a client can request that has the cookie and the password that is just being changed. */
const withOldPassword: Record<string, (browser: Browser) => Promise<Response>> = {
  'another new password': (browser) =>
    browser.post('/api/auth/change-password', { currentPassword: password, newPassword: stolen }),
  'another new password, and a new session': (browser) =>
    browser.post('/api/auth/change-password', {
      currentPassword: password,
      newPassword: stolen,
      revokeOtherSessions: true
    }),
  'a second factor': (browser) => browser.post('/api/auth/two-factor/enable', { password }),
  'the end of the account': (browser) => browser.post('/api/auth/delete-user', { password })
}
for (const [what, ask] of Object.entries(withOldPassword)) {
  t.test(
    `S8: a password that was verified and is changed before it counts is refused: ${what}`,
    onPostgres,
    async (t) => {
      const ada = await signUp(url)
      await proveAddress(ada)
      const copy = withCookiesOf(ada.browser)
      const change = () =>
        ada.browser.post('/api/auth/change-password', { currentPassword: password, newPassword })
      const [changed, refused] = await inTurnAtUser(prisma, ada.id, change, () => ask(copy))
      t.equal(changed?.status, 200)
      // As any wrong password. A 401 would tell a client to sign in again, although its session is
      // still valid.
      t.equal(refused?.status, 400)
      t.match(await refused?.json(), { code: 'INVALID_PASSWORD' })
      t.equal(await prisma.twoFactor.count({ where: { userId: ada.id } }), 0)
      t.equal(await sessionState(ada.browser), 'valid')
      t.equal(
        await sessionState((await signIn(url, ada.email, newPassword)).browser),
        'valid',
        'a change that was answered 200 stays'
      )
    }
  )
}

t.test(
  'S8: a password that was verified and is changed before it is noted makes no session recent',
  onPostgres,
  async (t) => {
    const ada = await signUp(url)
    await prisma.session.update({ where: { id: ada.sessionId }, data: { reauthAt: null } })
    const change = () =>
      ada.browser.post('/api/auth/change-password', { currentPassword: password, newPassword })
    const copy = withCookiesOf(ada.browser)
    const [changed] = await inTurnAtUser(prisma, ada.id, change, () =>
      copy.post('/api/auth/verify-password', { password })
    )
    t.equal(changed?.status, 200)
    t.match(await prisma.session.findUnique({ where: { id: ada.sessionId } }), {
      reauthAt: null,
      passwordAt: null
    })
    t.equal((await copy.post('/api/auth/delete-user')).status, 403)
  }
)

t.test('S8: administrators who change each other at once do not wait for each other', async (t) => {
  for (let round = 0; round < 2; round++) {
    const [one, two] = [await newAdmin(running), await newAdmin(running)]
    const responses = await Promise.all([
      one.browser.post('/api/auth/admin/set-user-password', { userId: two.id, newPassword }),
      two.browser.post('/api/auth/admin/set-user-password', { userId: one.id, newPassword }),
      one.browser.post('/api/auth/admin/update-user', { userId: two.id, data: { name: 'Two' } }),
      two.browser.post('/api/auth/admin/update-user', { userId: one.id, data: { name: 'One' } }),
      one.browser.post('/api/auth/admin/revoke-user-session', {
        sessionToken: `hsh1_${two.sessionId}`
      }),
      two.browser.post('/api/auth/admin/revoke-user-session', {
        sessionToken: `hsh1_${one.sessionId}`
      })
    ])
    const failed = responses.filter(({ status }) => ![200, 401].includes(status))
    t.strictSame(
      await Promise.all(
        failed.map(
          async (response) => `${response.status} ${response.url} ${await response.text()}`
        )
      ),
      []
    )
  }
})

t.test(
  'S8: of two first passwords that are set at once one is set, and the other one is refused',
  async (t) => {
    const [one, two] = [await newAdmin(running), await newAdmin(running)]
    const { id: userId } = await (
      await one.browser.post('/api/auth/admin/create-user', {
        email: `${crypto.randomUUID()}@example.com`,
        name: 'Eve'
      })
    )
      .json()
      .then((body) => (body as { user: { id: string } }).user)
    const responses = await Promise.all(
      [one, two].map((admin) =>
        admin.browser.post('/api/auth/admin/set-user-password', { userId, newPassword })
      )
    )
    t.ok(
      responses.every(({ status }) => status === 200 || status === 409),
      responses.map(({ status }) => status).join()
    )
    t.equal(await prisma.account.count({ where: { userId, providerId: 'credential' } }), 1)
  }
)

const rolesHere = async ({ browser }: Person) =>
  ((await (await browser.get('/session')).json()) as { user: { roles: string[] } }).user.roles
const isAdmin = async ({ browser }: Person) =>
  (await browser.get('/api/auth/admin/list-users?limit=1')).status === 200

t.test('administration without a session, or with a dead one, is 401', async (t) => {
  const admin = await newAdmin(running)
  t.equal(
    (await new Browser(url).post('/api/auth/admin/ban-user', { userId: admin.id })).status,
    401
  )
  t.equal((await admin.browser.delete(`/sessions/${admin.sessionId}`)).status, 200)
  t.equal((await admin.browser.post('/api/auth/admin/ban-user', { userId: admin.id })).status, 401)
})

t.test('S16: roles are stored without blanks and once, and mean the same everywhere', async (t) => {
  const admin = await newAdmin(running)
  const writes: [string, (id: string) => Promise<unknown>][] = [
    ['updateUser', (id) => auth.users.update(id, { role: 'user, admin' })],
    [
      'set-role',
      (userId) =>
        admin.browser.post('/api/auth/admin/set-role', { userId, role: ['user', ' admin', 'user'] })
    ],
    [
      'set-role, as a text',
      (userId) =>
        admin.browser.post('/api/auth/admin/set-role', { userId, role: ' user ,admin,admin ' })
    ],
    [
      'update-user',
      (userId) =>
        admin.browser.post('/api/auth/admin/update-user', {
          userId,
          data: { role: 'user,\tadmin' }
        })
    ]
  ]
  for (const [what, write] of writes) {
    const ada = await signUp(url)
    await write(ada.id)
    t.equal(
      (await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })).role,
      'user,admin',
      what
    )
    t.strictSame(await rolesHere(ada), ['user', 'admin'], what)
    t.ok(await isAdmin(ada), `${what}: better-auth agrees`)
  }
  const old = await signUp(url)
  await prisma.user.update({ where: { id: old.id }, data: { role: 'user, admin' } })
  await until('the change by hand to be heard of', async () =>
    (await rolesHere(old)).includes('admin')
  )
  t.ok(await isAdmin(old), 'a role with a space before it still counts')
})

t.test('S16: a role that there is not is refused', async (t) => {
  const admin = await newAdmin(running)
  const ada = await signUp(url)
  const email = `${crypto.randomUUID()}@example.com`
  for (const [path, body] of [
    ['set-role', { userId: ada.id, role: 'owner' }],
    ['set-role', { userId: ada.id, role: ['user', 'owner'] }],
    ['set-role', { userId: ada.id, role: 'user,,admin' }],
    ['set-role', { userId: ada.id, role: 'Admin' }],
    ['update-user', { userId: ada.id, data: { role: 'owner' } }],
    ['create-user', { email, password, name: 'Eve', role: 'owner' }],
    ['create-user', { email, password, name: 'Eve', data: { role: 'owner' } }]
  ] as const) {
    t.equal(
      (await admin.browser.post(`/api/auth/admin/${path}`, body)).status,
      400,
      `${path} ${JSON.stringify(body)}`
    )
  }
  t.equal((await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })).role, 'user')
  t.equal(await prisma.user.count({ where: { email } }), 0)
  t.equal(
    (
      await admin.browser.post('/api/auth/admin/set-role', {
        userId: ada.id,
        role: ['user', 'editor']
      })
    ).status,
    200,
    'ROLES has the role'
  )
})

t.test('S21: internal fields are refused to everyone in create, update and where', async (t) => {
  const admin = await newAdmin(running)
  const ada = await signUp(url)
  const before = JSON.stringify(await prisma.user.findUniqueOrThrow({ where: { id: ada.id } }))
  const email = `${crypto.randomUUID()}@example.com`
  for (const field of [
    'credentialEpoch',
    'id',
    'createdAt',
    'updatedAt',
    'twoFactorEnabled',
    'accounts',
    'twofactors',
    'password',
    'nonsense',
    '__proto__'
  ]) {
    const data = JSON.parse(
      `{"name":"Eve","${field}":${field === 'id' ? '"00000000-0000-7000-8000-000000000000"' : '7'}}`
    ) as object
    for (const [path, body] of [
      ['update-user', { userId: ada.id, data }],
      ['create-user', { email, password, name: 'Eve', data }]
    ] as const) {
      if (field === '__proto__') continue
      t.equal(
        (await admin.browser.post(`/api/auth/admin/${path}`, body)).status,
        400,
        `${path} ${field}`
      )
    }
  }
  for (const field of ['credentialEpoch', 'accounts', 'password', 'nonsense', '__proto__']) {
    for (const query of [
      `filterField=${field}&filterValue=0&filterOperator=gte`,
      `searchField=${field}&searchValue=0`,
      `sortBy=${field}`
    ]) {
      t.equal((await admin.browser.get(`/api/auth/admin/list-users?${query}`)).status, 400, query)
    }
  }
  for (const path of ['sign-up/email', 'update-user']) {
    const response = await (path === 'update-user' ? ada.browser : new Browser(url)).post(
      `/api/auth/${path}`,
      {
        name: 'Ada Lovelace',
        email: path === 'update-user' ? undefined : email,
        password,
        credentialEpoch: 7
      }
    )
    t.equal(response.status, 400, path)
  }
  t.equal(
    JSON.stringify(await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })),
    before,
    'nothing changed'
  )
  t.equal(await prisma.user.count({ where: { email } }), 0)
  t.equal(
    (
      await admin.browser.get(
        '/api/auth/admin/list-users?filterField=role&filterValue=admin&sortBy=createdAt'
      )
    ).status,
    200
  )
})

t.test(
  'S22: the first password of a user ends the sessions that were begun without one',
  async (t) => {
    const admin = await newAdmin(running)
    const ada = await signUp(url)
    await prisma.account.deleteMany({ where: { userId: ada.id } })
    const { credentialEpoch } = await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })
    await prisma.verification.create({
      data: {
        id: crypto.randomUUID(),
        identifier: 'a pending second factor',
        value: ada.id,
        expiresAt: new Date(Date.now() + 60_000)
      }
    })
    t.equal(
      (
        await admin.browser.post('/api/auth/admin/set-user-password', {
          userId: ada.id,
          newPassword
        })
      ).status,
      200
    )
    t.equal(await sessionState(ada.browser), '401 session_revoked')
    t.ok(
      (await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })).credentialEpoch >
        credentialEpoch,
      'the epoch has grown, so a sign-in in progress fails'
    )
    t.equal(await prisma.verification.count({ where: { value: ada.id } }), 0)
    t.equal(await sessionState((await signIn(url, ada.email, newPassword)).browser), 'valid')
  }
)

t.test('S22: so does a reset after the password was never there', async (t) => {
  const { url, app, mails } = await buildWithMail(t)
  const ada = await signUp(url)
  await app.holdfast.prisma.account.deleteMany({ where: { userId: ada.id } })
  const { email } = ada
  await new Browser(url).post('/api/auth/request-password-reset', { email })
  const { link } = await mails.read(email, /password/)
  const token = new URL(link, url).searchParams.get('token')
  t.equal(
    (await new Browser(url).post('/api/auth/reset-password', { token, newPassword })).status,
    200
  )
  t.equal(await sessionState(ada.browser), '401 session_revoked')
})

t.test('S22: removing a way in ends the other sessions', async (t) => {
  const laptop = await newPerson(url)
  const phone = await signIn(url, laptop.email)
  const { id } = await prisma.account.create({
    data: { id: crypto.randomUUID(), accountId: laptop.id, providerId: 'other', userId: laptop.id }
  })
  t.equal((await laptop.browser.post('/api/auth/unlink-account', { accountId: id })).status, 200)
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(laptop.browser), 'valid')
})

t.test('S22: of two ways in that are removed at once one stays', async (t) => {
  const ada = await newPerson(url)
  await prisma.account.create({
    data: { id: crypto.randomUUID(), accountId: ada.id, providerId: 'other', userId: ada.id }
  })
  const accounts = await prisma.account.findMany({ where: { userId: ada.id } })
  const answers = await Promise.all(
    accounts.map(({ id }) => ada.browser.post('/api/auth/unlink-account', { accountId: id }))
  )
  t.strictSame(
    answers.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 400]
  )
  t.match(await answers.find(({ status }) => status === 400)?.json(), {
    code: 'FAILED_TO_UNLINK_LAST_ACCOUNT'
  })
  t.equal(await prisma.account.count({ where: { userId: ada.id } }), 1)
})

t.test('a sign-up does not change the credentials that it makes', async (t) => {
  const ada = await signUp(url)
  await makeAdmin(running, ada)
  t.equal((await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })).credentialEpoch, 0)
})
