import { drive, median, type Load, type Sample } from './drive.js'
import type { Stage } from './stage.js'

/** One of the things that a family measures in turn. */
export type Side = () => Promise<Sample>

/** The target of a figure. */
export type Bound = { atLeast: number } | { atMost: number }

/** A number computed from the medians of a family's sides. */
export interface Figure {
  name: string
  /** Null where the figure has no target. */
  bound: Bound | null
  unit?: string
  value: (rounds: Rounds) => number
}

/** The results of each side in one round. */
export type Samples = Readonly<Record<string, Sample>>
export type Rounds = readonly Samples[]

/** Figures that are measured together, on servers that run side by side. */
export interface Family {
  name: string
  /** Starts what is needed. Afterwards each side is warmed up, and runs in every round. */
  prepare: (stage: Stage) => Promise<Record<string, Side>>
  rounds?: number
  /** Whether it takes too long for a quick run. */
  long?: boolean
  figures: readonly Figure[]
}

/** The number of rounds of a family that does not set its own. */
export const ROUNDS = 5
const QUICK_ROUNDS = 3

/** Runs the sides of a family in turns, each round in the opposite order of the one before. */
export async function measure(family: Family, stage: Stage): Promise<Rounds> {
  const sides = Object.entries(await family.prepare(stage))
  const rounds: Samples[] = []
  for (let round = 0; round < (stage.quick ? QUICK_ROUNDS : (family.rounds ?? ROUNDS)); round++) {
    const samples: Record<string, Sample> = {}
    for (const [name, side] of round % 2 === 0 ? sides : sides.toReversed())
      samples[name] = await side()
    rounds.push(samples)
  }
  return rounds
}

/** The median of each number of each side. */
export function mediansOf(rounds: Rounds): Samples {
  const medians = Object.entries(rounds[0] ?? {}).map(([side, sample]) => {
    const measures = Object.keys(sample) as (keyof Sample)[]
    return [
      side,
      Object.fromEntries(measures.map((measure) => [measure, medianOf(rounds, side, measure)]))
    ] as const
  })
  return Object.fromEntries(medians)
}

/**
 * The share of `peer`'s throughput that a side reaches: by answers per second or by CPU per answer,
 * whichever is less. On few cores the driver limits the cheapest routes, so that answers per second
 * alone would flatter the more expensive side.
 */
export function share(side: string, peer: string): Figure['value'] {
  return (rounds) =>
    Math.min(ratioOf(rounds, 'perSecond', side, peer), ratioOf(rounds, 'cpuMicros', peer, side))
}

/**
 * The median of a ratio, taken within each round, because the speed of a shared machine changes
 * from second to second.
 */
export function ratioOf(rounds: Rounds, measure: keyof Sample, side: string, peer: string): number {
  return median(
    rounds.map((samples) => numberOf(samples, side, measure) / numberOf(samples, peer, measure))
  )
}

/** The median of one number of one side. */
export function medianOf(rounds: Rounds, side: string, measure: keyof Sample): number {
  return median(rounds.map((samples) => numberOf(samples, side, measure)))
}

function numberOf(samples: Samples, side: string, measure: keyof Sample): number {
  const number = samples[side]?.[measure]
  if (number === undefined) throw new Error(`nobody has measured ${measure} of ${side}`)
  return number
}

/**
 * A side that drives one load for one round. It has run long enough before for its code to be
 * compiled.
 */
export async function loading(stage: Stage, load: Load): Promise<Side> {
  await drive({ ...load, forMs: stage.quick ? 500 : (load.warmUpMs ?? 2_000) })
  return () => drive({ ...load, forMs: stage.quick ? 150 : (load.forMs ?? 400) })
}

/** A side that uses up a list: a first part for the warm-up, and another one in each round. */
export async function usingUp<T>(
  all: readonly T[],
  { first, perRound }: { first: number; perRound: number },
  run: (part: readonly T[]) => Promise<Sample>
): Promise<Side> {
  let used = 0
  const next = (amount: number) => run(all.slice(used, (used += amount)))
  await next(first)
  return () => next(perRound)
}
