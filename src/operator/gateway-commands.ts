import { Argument, Command } from '@commander-js/extra-typings'
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
import { filled, operation, type Operation } from './operation.js'

const gatewayId = new Argument('<id>', 'which gateway').argParser(filled)

/**
 * What an operator may do with gateways. A secret is in the answer that makes it, and nowhere else.
 */
export const gatewayOperations: Record<string, Operation> = {
  'gateway create': operation(
    new Command()
      .description('Makes a gateway. Its secret is shown once, here, and kept as a hash.')
      .addArgument(gatewayId)
      .option('--name <text>', 'a name for people; the id without'),
    async ({ prisma }, [id], { name = id }) => {
      if (!isGatewayId(id))
        throw new AppError(
          'invalid_input',
          'the id of a gateway is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -'
        )
      const { secret, hash } = mintGatewaySecret()
      const isMade = await telling(prisma, 'gateway_created', id, (db) =>
        insertGateway(db, { id, name, hash })
      )
      if (!isMade) throw new AppError('invalid_input', `there is a gateway ${id} already`)
      return { id, name, secret }
    }
  ),
  'gateway list': operation(
    new Command().description('Lists the gateways, with their last use.'),
    ({ prisma }) => listGateways(prisma)
  ),
  'gateway rotate': operation(
    new Command()
      .description(
        'Gives a gateway a new secret, shown once; the one before stays good until the next change.'
      )
      .addArgument(gatewayId)
      .option('--finish', 'makes none, and ends the one before'),
    async ({ prisma }, [id], { finish }) => {
      const change = (make: (db: Queryable) => Promise<number | null>) =>
        telling(prisma, 'gateway_secret_rotated', id, make)
      if (finish) return { id, secrets: known(id, await change((db) => keepNewestSecret(db, id))) }
      const { secret, hash } = mintGatewaySecret()
      return { id, secret, secrets: known(id, await change((db) => addSecret(db, id, hash))) }
    }
  ),
  'gateway disable': operation(
    new Command()
      .description('Refuses a gateway from now on, on every node within seconds.')
      .addArgument(gatewayId),
    async ({ prisma }, [id]) => {
      const disabledAt = await telling(prisma, 'gateway_disabled', id, (db) =>
        disableGateway(db, id)
      )
      return { id, disabledAt: known(id, disabledAt) }
    }
  )
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

function known<T>(id: string, found: T | null): T {
  if (found === null) throw new AppError('not_found', `there is no gateway ${id} that is enabled`)
  return found
}
