import { parseArgs } from 'node:util'
import type { AccountEventKind } from '../account/account-event.js'
import { originOutsideRequests } from '../account/origin.js'
import { writeAccountEvents } from '../account/store.js'
import type { PrismaClient, Queryable } from '../database/database.js'
import { withTransaction } from '../database/transaction.js'
import { AppError } from '../errors.js'
import { isGatewayId, mintGatewaySecret } from '../gateway/gateway.js'
import {
  addSecret,
  disableGateway,
  insertGateway,
  keepNewestSecret,
  listGateways
} from '../gateway/store.js'

/**
 * What an operator may do with gateways. A secret is in the answer that makes it, and nowhere else.
 */
export const gatewayUsage = {
  create: 'gateway create <id> [--name <text>]',
  list: 'gateway list',
  rotate: 'gateway rotate <id> [--finish]',
  disable: 'gateway disable <id>'
}

export async function createGateway(prisma: PrismaClient, args: string[]): Promise<unknown> {
  const {
    values: { name },
    id
  } = read(args, 'create', { name: { type: 'string' } })
  if (!isGatewayId(id))
    throw new AppError(
      'invalid_input',
      'the id of a gateway is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -'
    )
  const { secret, hash } = mintGatewaySecret()
  const shownName = typeof name === 'string' ? name : id
  if (
    !(await telling(prisma, 'gateway_created', id, (db) =>
      insertGateway(db, { id, name: shownName, hash })
    ))
  )
    throw new AppError('invalid_input', `there is a gateway ${id} already`)
  return { id, name: shownName, secret }
}

export async function listAll(db: Queryable, args: string[]): Promise<unknown> {
  if (args.length > 0) throw new AppError('invalid_input', `usage: holdfast ${gatewayUsage.list}`)
  return listGateways(db)
}

/** A new secret beside the one that is in use; then, with `--finish`, the end of that one. */
export async function rotateSecret(prisma: PrismaClient, args: string[]): Promise<unknown> {
  const {
    values: { finish },
    id
  } = read(args, 'rotate', { finish: { type: 'boolean' } })
  if (finish)
    return {
      id,
      secrets: known(
        id,
        await telling(prisma, 'gateway_secret_rotated', id, (db) => keepNewestSecret(db, id))
      )
    }
  const { secret, hash } = mintGatewaySecret()
  const secrets = known(
    id,
    await telling(prisma, 'gateway_secret_rotated', id, (db) => addSecret(db, id, hash))
  )
  return { id, secret, secrets }
}

export async function disable(prisma: PrismaClient, args: string[]): Promise<unknown> {
  const { id } = read(args, 'disable', {})
  return {
    id,
    disabledAt: known(
      id,
      await telling(prisma, 'gateway_disabled', id, (db) => disableGateway(db, id))
    )
  }
}

/**
 * Changes a gateway, and tells of it in the same transaction. @param change what it returns is null
 * or false where nothing was changed
 */
function telling<T>(
  prisma: PrismaClient,
  kind: AccountEventKind,
  gateway: string,
  change: (db: Queryable) => Promise<T>
): Promise<T> {
  return withTransaction(prisma, async (transaction) => {
    const db = await transaction.forWrite()
    const changed = await change(db)
    if (changed !== null && changed !== false)
      await writeAccountEvents(db, originOutsideRequests(), [
        { userId: null, kind, detail: { gateway } }
      ])
    return changed
  })
}

function read(
  args: string[],
  command: keyof typeof gatewayUsage,
  options: Record<string, { type: 'string' | 'boolean' }>
) {
  try {
    const {
      values,
      positionals: [id = '', ...rest]
    } = parseArgs({ args, options, allowPositionals: true })
    if (id !== '' && rest.length === 0) return { values, id }
  } catch {
    /* an unknown option */
  }
  throw new AppError('invalid_input', `usage: holdfast ${gatewayUsage[command]}`)
}

function known<T>(id: string, found: T | null): T {
  if (found === null) throw new AppError('not_found', `there is no gateway ${id} that is enabled`)
  return found
}
