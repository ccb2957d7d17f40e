import { drive, median, type Load, type Sample } from './drive.js'
import type { Stage } from './stage.js'

/** One thing that is measured, in turns with its siblings. */
export type Side = () => Promise<Sample>

/** What must be reached. */
export type Bound = { atLeast: number } | { atMost: number }

/** A number that is made of the medians of a family's sides. */
export interface Figure {
  name: string
  /** Null where the figure is only shown. */
  bound: Bound | null
  unit?: string
  value: (sides: Samples) => number
}

export type Samples = Readonly<Record<string, Sample>>

/** Figures that are measured together, on servers that run side by side. */
export interface Family {
  name: string
  /** Starts what is needed. Each side then runs once unmeasured, and in every round. */
  prepare: (stage: Stage) => Promise<Record<string, Side>>
  figures: readonly Figure[]
}

/** How many rounds are measured. */
export const ROUNDS = 3

/** Runs the sides of a family in turns, each round in the opposite order of the one before; returns the median of each number. */
export async function measure(family: Family, stage: Stage): Promise<Samples> {
  const sides = Object.entries(await family.prepare(stage))
  const rounds = new Map<string, Sample[]>(sides.map(([name]) => [name, []]))
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, side] of round % 2 === 0 ? sides : sides.toReversed()) {
      const sample = await side()
      if (round > 0) rounds.get(name)?.push(sample)
    }
  }
  return Object.fromEntries([...rounds].map(([name, samples]) => [name, medianOf(samples)]))
}

function medianOf(samples: readonly Sample[]): Sample {
  const measures = Object.keys(samples[0] ?? {}) as (keyof Sample)[]
  return Object.fromEntries(measures.map((measure) => [measure, median(samples.map((sample) => sample[measure] ?? Number.NaN))]))
}

/**
 * How much of the throughput of `peer` a side reaches: by answers per second or by CPU per answer, whichever is less. On few
 * cores it is the driver that limits the cheapest routes, and answers per second alone would flatter the dearer one.
 */
export function share(side: string, peer: string): Figure['value'] {
  return (samples) => Math.min(
    numberOf(samples, side, 'perSecond') / numberOf(samples, peer, 'perSecond'),
    numberOf(samples, peer, 'cpuMicros') / numberOf(samples, side, 'cpuMicros')
  )
}

/** One number of one side. */
export function numberOf(samples: Samples, side: string, measure: keyof Sample): number {
  const number = samples[side]?.[measure]
  if (number === undefined) throw new Error(`nobody has measured ${measure} of ${side}`)
  return number
}

/** A side that drives one load for as long as a run of this kind takes. */
export function loading(stage: Stage, load: Load): Side {
  return () => drive({ forMs: stage.quick ? 400 : 2_000, ...load })
}
