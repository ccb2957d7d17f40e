/*
 * What travels through the subscriptions. Whoever renews hears its own heartbeat; whoever announces, the acknowledgements.
 */
export interface Heartbeat { kind: 'heartbeat', sent: string, replid: string, birth: string, seq: number }
export interface Acknowledgement { kind: 'ack', announcement: string, node: string }
export interface Announcement { seq: number, kind: 'changes', announcement: string, node: string, changes: [sessionId: string, version: number][] }

/** Reads a message; null for one that is not of ours. */
export function parseMessage(text: string): Heartbeat | Acknowledgement | Announcement | null {
  try {
    return JSON.parse(text) as Heartbeat | Acknowledgement | Announcement | null
  } catch {
    return null
  }
}
