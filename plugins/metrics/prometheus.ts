import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { factorOutcomes, factors, signInOutcomes } from '../../src/auth/attempts.js'
import type { Holdfast } from '../../src/holdfast.js'
import { mailKinds } from '../../src/mail/mail.js'
import type { MailBacklog } from '../../src/mail/queue.js'
import { mailOutcomes } from '../../src/mail/worker.js'
import type { NoteAnswer } from '../fast-path/fast-path.js'
import { RequestHistogram } from './request-histogram.js'

/**
 * The metrics of one Holdfast, in their own registry, because a host application may have others.
 */
export interface Metrics {
  readonly registry: Registry
  /** Notes that a request was answered. */
  readonly note: NoteAnswer
}

/**
 * The route label of a request without a route. Its path is client input and must not become a
 * label.
 */
export const NO_ROUTE = 'none'

/**
 * Makes the metrics. Most are read from the counters at scrape time, so that counting costs a
 * request next to nothing.
 */
export function createMetrics(holdfast: Holdfast): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const requests = new RequestHistogram({
    name: 'holdfast_http_request_duration_seconds',
    help: 'Requests answered, by route and status.',
    bounds: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
  })
  registry.registerMetric(requests.asMetric())
  countTally(registry, holdfast)
  gaugeStats(registry, holdfast)
  return {
    registry,
    note: (method, route, status, seconds) => requests.note(method, route, status, seconds)
  }
}

function countTally(registry: Registry, { counters }: Holdfast): void {
  const counter = (
    name: string,
    help: string,
    labelNames: string[],
    each: (set: (labels: Record<string, string>, value: number) => void) => void
  ) =>
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        each((labels, value) => this.inc(labels, value))
      }
    })
  counter(
    'holdfast_checks_total',
    'Session checks, by what was answered and by the layer that knew.',
    ['answer', 'layer'],
    (set) => {
      for (const [layer, answers] of Object.entries(counters.checks)) {
        for (const [answer, value] of Object.entries(answers)) set({ layer, answer }, value)
      }
    }
  )
  counter(
    'holdfast_copies_refused_total',
    "Copies in Redis that did not count: forged, older than any copy may be, or in another version's form.",
    ['why'],
    (set) => {
      for (const [why, value] of Object.entries(counters.copiesRefused)) set({ why }, value)
    }
  )
  counter(
    'holdfast_revocations_total',
    'Sessions revoked through this process, by reason.',
    ['reason'],
    (set) => {
      for (const [reason, value] of counters.revocations) set({ reason }, value)
    }
  )
  counter('holdfast_refreshes_total', 'Refreshes, by outcome.', ['outcome'], (set) => {
    for (const [outcome, value] of counters.refreshes) set({ outcome }, value)
  })
  counter(
    'holdfast_sign_ins_total',
    'Sign-ins by password, by how they ended.',
    ['outcome'],
    (set) => {
      for (const outcome of signInOutcomes) set({ outcome }, counters.signIns.get(outcome) ?? 0)
    }
  )
  counter(
    'holdfast_second_factors_total',
    'Second factors that were shown, by factor and by how that ended.',
    ['factor', 'outcome'],
    (set) => {
      for (const factor of factors)
        for (const outcome of factorOutcomes)
          set({ factor, outcome }, counters.factors.get(factor)?.get(outcome) ?? 0)
    }
  )
  counter(
    'holdfast_mails_total',
    'Attempts to send a mail, by its kind and by how they ended.',
    ['kind', 'outcome'],
    (set) => {
      for (const kind of mailKinds)
        for (const outcome of mailOutcomes)
          set({ kind, outcome }, counters.mails.get(kind)?.get(outcome) ?? 0)
    }
  )
  const confirmations = new Histogram({
    name: 'holdfast_revocation_confirmation_seconds',
    help: 'From the commit of a change until every cache had forgotten older copies, or the wait was given up (pending).',
    labelNames: ['outcome'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [registry]
  })
  counters.onConfirmed = (ms, outcome) => confirmations.observe({ outcome }, ms / 1000)
}

function gaugeStats(registry: Registry, holdfast: Holdfast): void {
  const gauge = (name: string, help: string, read: () => number | null | Promise<number | null>) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const value = await read()
        // Unknown values are left out, because a 0 would be wrong.
        if (value === null) this.remove()
        else this.set(value)
      }
    })
  gauge(
    'holdfast_cache_entries',
    'Sessions kept in this process.',
    () => holdfast.stats().local?.entries ?? null
  )
  gauge(
    'holdfast_cache_bytes',
    'What they weigh, roughly.',
    () => holdfast.stats().local?.bytes ?? null
  )
  gauge(
    'holdfast_lease_held',
    'Whether this node may answer from its caches (1) or asks the store (0).',
    () => bit(holdfast.stats().leaseHeld)
  )
  gauge(
    'holdfast_redis_breaker_open',
    'Whether commands to Redis are held back (1), tried again (0.5), or sent (0).',
    () => states[holdfast.stats().breaker ?? 'none'] ?? null
  )
  gauge('holdfast_ready', 'Whether this process takes requests.', () => bit(holdfast.ready()))
  // A process alone on its store has no other node to confirm to.
  gauge(
    'holdfast_outbox_depth',
    'Changes that are committed and not yet known to every cache.',
    () => (holdfast.stats().leaseHeld === null ? null : holdfast.outboxDepth().catch(() => null))
  )
  gaugeMails(registry, holdfast)
  for (const state of ['total', 'idle', 'waiting'] as const) {
    gauge(
      `holdfast_pool_${state}`,
      {
        total: 'Connections to PostgreSQL.',
        idle: 'Connections that wait for work.',
        waiting: 'Work that waits for a connection.'
      }[state],
      () => holdfast.stats().pool?.[state] ?? null
    )
  }
}

/** Two gauges of one read. Every node reports all mails of the store. */
function gaugeMails(registry: Registry, holdfast: Holdfast): void {
  let reading: Promise<MailBacklog | null> | null = null
  const read = () => {
    reading ??= holdfast
      .mailBacklog()
      .catch(() => null)
      .finally(() => {
        reading = null
      })
    return reading
  }
  const gauge = (name: string, help: string, valueOf: (backlog: MailBacklog) => number) =>
    new Gauge({
      name,
      help,
      // Of the workers of one machine, all of which count the same mails.
      aggregator: 'max',
      registers: [registry],
      async collect() {
        const backlog = await read()
        if (backlog === null) this.remove()
        else this.set(valueOf(backlog))
      }
    })
  gauge(
    'holdfast_mails_waiting',
    'Mails that are still to be sent, ten thousand at most.',
    ({ waiting }) => waiting
  )
  gauge(
    'holdfast_mail_oldest_seconds',
    'For how long the oldest mail that is still to be sent has waited. 0 where none waits.',
    ({ oldestSeconds }) => oldestSeconds
  )
}

const states: Record<string, number> = { closed: 0, 'half-open': 0.5, open: 1 }

function bit(value: boolean | null): number | null {
  return value === null ? null : Number(value)
}
