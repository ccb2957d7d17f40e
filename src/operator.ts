import { parseArgs } from 'node:util'
import type { ControlRequest } from './control-socket.js'
import { Refusal } from './errors.js'
import { createGateway, disable, gatewayUsage, listAll, rotateSecret } from './gateway/commands.js'
import type { Holdfast } from './holdfast.js'
import { listSessions } from './session/store.js'

/** What an operator may ask of a running Holdfast, on the command line: the words of the command, and what they do. */
export const operations: Record<string, { usage: string, run: (holdfast: Holdfast, args: string[]) => Promise<unknown> }> = {
  'user set-role': { usage: 'user set-role <e-mail or id> <role>[,<role>…]', run: setRole },
  'keys list': { usage: 'keys list', run: listKeys },
  'keys rotate': { usage: 'keys rotate [--force]', run: rotateKeys },
  'session list': { usage: 'session list <e-mail or user id>', run: list },
  'session revoke': { usage: 'session revoke <session id> | --user <e-mail or user id>', run: revoke },
  'gateway create': { usage: gatewayUsage.create, run: ({ prisma }, args) => createGateway(prisma, args) },
  'gateway list': { usage: gatewayUsage.list, run: ({ prisma }, args) => listAll(prisma, args) },
  'gateway rotate': { usage: gatewayUsage.rotate, run: ({ prisma }, args) => rotateSecret(prisma, args) },
  'gateway disable': { usage: gatewayUsage.disable, run: ({ prisma }, args) => disable(prisma, args) }
}

/** Runs one operation. @throws Refusal for words that name none */
export async function operate(holdfast: Holdfast, { operation, args }: ControlRequest): Promise<unknown> {
  const known = operations[operation]
  if (!known) throw new Refusal('invalid_input', `there is no operation ${operation}`)
  return known.run(holdfast, args)
}

async function setRole({ prisma, auth }: Holdfast, args: string[]): Promise<unknown> {
  const [who = '', role = '', ...rest] = args
  if (!who || !role || rest.length > 0) throw new Refusal('invalid_input', 'usage: holdfast user set-role <e-mail or id> <role>')
  const id = await userIdOf(prisma, who)
  await auth.updateUser(id, { role })
  return { id, roles: role.split(',') }
}

async function list({ prisma }: Holdfast, args: string[]): Promise<unknown> {
  const [who = '', ...rest] = args
  if (!who || rest.length > 0) throw new Refusal('invalid_input', 'usage: holdfast session list <e-mail or user id>')
  const rows = await listSessions(prisma, { userId: await userIdOf(prisma, who) })
  return rows.map(({ id, userId, issuedAt, lastSeenAt, expiresAt, absoluteExpiresAt, ipAddress, userAgent, amr, impersonatedBy }) =>
    ({ id, userId, issuedAt, lastSeenAt, expiresAt, absoluteExpiresAt, ipAddress, userAgent, amr, impersonatedBy }))
}

async function revoke({ prisma, revoker }: Holdfast, args: string[]): Promise<unknown> {
  const { values: { user }, positionals: [sessionId, ...rest] } = parseArgs({ args, options: { user: { type: 'string' } }, allowPositionals: true })
  if (rest.length > 0 || (user === undefined) === (sessionId === undefined)) {
    throw new Refusal('invalid_input', 'usage: holdfast session revoke <session id> | --user <e-mail or user id>')
  }
  const revoked = user === undefined
    ? await revoker.revoke([sessionId ?? ''], null, 'revoked_by_operator')
    : await revoker.revokeAll(null, { userId: await userIdOf(prisma, user), reason: 'revoked_by_operator' })
  return { revoked: revoked?.count ?? 0, ...(revoked?.effectiveBy ? { effective_by: revoked.effectiveBy } : {}) }
}

async function listKeys({ signingKeys }: Holdfast, args: string[]): Promise<unknown> {
  if (args.length > 0) throw new Refusal('invalid_input', 'usage: holdfast keys list')
  return signingKeys.list()
}

async function rotateKeys({ signingKeys }: Holdfast, args: string[]): Promise<unknown> {
  const { values: { force = false }, positionals } = parseArgs({ args, options: { force: { type: 'boolean' } }, allowPositionals: true })
  if (positionals.length > 0) throw new Refusal('invalid_input', 'usage: holdfast keys rotate [--force]')
  const waitSeconds = await signingKeys.rotate({ force })
  if (waitSeconds !== null) {
    throw new Error(`the next key has not been published long enough: gateways may keep a key set without it for ${waitSeconds} s more. Rotate then, or use --force and have them refuse tokens until they fetch it`)
  }
  return signingKeys.list()
}

async function userIdOf(prisma: Holdfast['prisma'], who: string): Promise<string> {
  const user = await prisma.user.findFirst({ where: who.includes('@') ? { email: who.toLowerCase() } : { id: who } })
  if (!user) throw new Refusal('not_found', `there is no user ${who}`)
  return user.id
}
