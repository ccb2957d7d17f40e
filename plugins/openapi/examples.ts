import type { Operation, Schema } from './document.js'

const ID = '01931c1e-5b7a-7c3e-8a52-3f1b6d9e4c70'
const PASSWORD = 'correct horse battery staple'

/** Sample values by field name, which a freshly started server accepts. */
const samples: Record<string, unknown> = {
  name: 'Ada Lovelace',
  email: 'ada@example.com',
  newEmail: 'ada.king@example.com',
  password: PASSWORD,
  currentPassword: PASSWORD,
  newPassword: 'wrong zebra capacitor clip',
  code: '123456',
  otp: '123456',
  token: `hsh1_${ID}`,
  sessionToken: `hsh1_${ID}`,
  userId: ID,
  accountId: ID,
  role: 'user',
  data: { name: 'Ada King' },
  permissions: { user: ['list'] },
  roles: 'admin',
  id: ID
}

/** The form of what the link of a mail carries. */
const MAIL_TOKEN = 'AZMcHlt6fD6KUj8bbZ5McFyV0o3rT7kQeX2uJ9wLsGhBnC4mYdPiZa'

/** Examples for bodies whose purpose is an optional field. */
const bodies: Record<string, unknown> = {
  '/update-user': { name: 'Ada King' },
  '/update-session': {},
  '/delete-user': { password: PASSWORD },
  '/admin/create-user': {
    email: 'grace@example.com',
    password: PASSWORD,
    name: 'Grace Hopper',
    role: 'user'
  },
  '/one-time-token/verify': { token: 'p3XvT0yYq2mR8sKd1LwZbN6hUcJf4GaE' },
  '/reset-password': { newPassword: samples['newPassword'], token: MAIL_TOKEN },
  '/verify-email': { token: MAIL_TOKEN },
  '/magic-link/verify': { token: MAIL_TOKEN },
  '/describe-link': { token: MAIL_TOKEN },
  '/not-me': { token: MAIL_TOKEN },
  '/email-otp/send-verification-otp': { email: samples['email'], type: 'sign-in' },
  '/email-otp/check-verification-otp': { email: samples['email'], type: 'sign-in', otp: '123456' },
  '/sessions/{id}': { name: "Ada's laptop" },
  '/oauth2/token': { grant_type: 'refresh_token', refresh_token: 'hrt1_…', client_id: 'holdfast' },
  '/oauth2/revoke': { token: 'hrt1_…' },
  '/oauth2/introspect': { token: 'eyJ…' },
  '/sessions/check': { tokens: ['eyJ…'] }
}

/**
 * Gives each body an example that can be sent unchanged. It has only required fields: return
 * addresses, which must be of a trusted origin, are left out.
 */
export function giveExamples(path: string, operation: Operation): void {
  for (const media of Object.values(operation.requestBody?.content ?? {})) {
    media.example ??= bodies[path] ?? requiredFrom(media.schema)
  }
  for (const parameter of operation.parameters ?? []) {
    if ('name' in parameter && parameter.required && parameter.in === 'path')
      parameter.example ??= samples[parameter.name] ?? 'anything'
  }
}

function requiredFrom({ required = [] }: Schema = {}): Record<string, unknown> {
  return Object.fromEntries(required.map((name) => [name, samples[name] ?? 'text']))
}
