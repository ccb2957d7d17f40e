/*
 * Messages on the subscriptions. A node receives its own heartbeats, and the acknowledgements of
 * what it announced.
 */
export interface Heartbeat {
  kind: 'heartbeat'
  sent: string
  replid: string
  birth: string
  seq: number
}
export interface Acknowledgement {
  kind: 'ack'
  announcement: string
  node: string
}
export interface Announcement {
  seq: number
  kind: 'changes'
  announcement: string
  node: string
  changes: [sessionId: string, version: number][]
}

type LeaseMessage = Heartbeat | Acknowledgement | Announcement

/**
 * Parses a message. Null for one that no node of this server sent: any client that can publish in
 * Redis can send anything, so every field is checked.
 */
export function parseMessage(text: string): LeaseMessage | null {
  try {
    const message: unknown = JSON.parse(text)
    return isMessage(message) ? message : null
  } catch {
    return null
  }
}

function isMessage(value: unknown): value is LeaseMessage {
  if (typeof value !== 'object' || value === null) return false
  const { kind, sent, replid, birth, seq, announcement, node, changes } = value as Record<
    string,
    unknown
  >
  if (kind === 'heartbeat') return [sent, replid, birth].every(isText) && isCount(seq)
  if (kind === 'ack') return isText(announcement) && isText(node)
  return (
    kind === 'changes' &&
    isCount(seq) &&
    isText(announcement) &&
    isText(node) &&
    Array.isArray(changes) &&
    changes.every(isChange)
  )
}

function isChange(value: unknown): boolean {
  return Array.isArray(value) && isText(value[0]) && isCount(value[1])
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
