import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { cpus, release, totalmem, type as system } from 'node:os'
import Table from 'cli-table3'
import {
  mediansOf,
  type Bound,
  type Family,
  type Figure,
  type Rounds,
  type Samples
} from './figure.js'

const sideHead = [
  'family',
  'side',
  'answers/s',
  'CPU µs each',
  'of a core',
  'median ms',
  'p99 ms',
  'bytes'
]
const figureHead = ['figure', 'measured', 'to reach', 'reached']
const style = { head: [], border: [], compact: true }

/** A figure with its measured value. */
interface Row extends Figure {
  measured: number
  reached: boolean
}

/** The results of a run so far. */
export class Results {
  readonly figures: Row[] = []
  readonly sides: { family: string; samples: Samples }[] = []

  add(family: Family, rounds: Rounds): void {
    this.sides.push({ family: family.name, samples: mediansOf(rounds) })
    for (const figure of family.figures) {
      const measured = figure.value(rounds)
      this.figures.push({ ...figure, measured, reached: reaches(measured, figure.bound) })
    }
  }

  /** The figures that missed their target. */
  get missed(): Row[] {
    return this.figures.filter(({ reached }) => !reached)
  }

  /** Writes the results page of the project. */
  async write(path: URL): Promise<void> {
    const figures = figureRows(this).map(line)
    const sides = sideRows(this).map(line)
    await writeFile(
      path,
      `# What the bench shows

Written by \`npm run bench\`; what is measured and how is in [README.md](README.md).

${machine()
  .map((line) => `- ${line}`)
  .join('\n')}

Each number is a median of rounds in which the sides of a family take turns, and each ratio one of ratios within a round. Compare numbers within one family only.

${line(figureHead)}
${line(figureHead.map(() => '---'))}
${figures.join('\n')}

## The sides

${line(sideHead)}
${line(sideHead.map(() => '---'))}
${sides.join('\n')}
`
    )
  }
}

/** Prints both tables. */
export function print(results: Results): void {
  const sides = new Table({ head: sideHead, style })
  sides.push(...sideRows(results))
  const figures = new Table({ head: figureHead, style })
  figures.push(...figureRows(results))
  process.stdout.write(`${sides.toString()}\n${machine().join('\n')}\n${figures.toString()}\n`)
}

function figureRows({ figures }: Results): string[][] {
  return figures.map(({ name, measured, unit = '', bound, reached }) => [
    name,
    `${round(measured)}${unit}`,
    describe(bound, unit),
    bound ? (reached ? 'yes' : 'NO') : ''
  ])
}

function sideRows({ sides }: Results): string[][] {
  return sides.flatMap(({ family, samples }) =>
    Object.entries(samples).map(
      ([side, { perSecond, cpuMicros, busy, medianMs, p99Ms, bytes }]) => [
        family,
        side,
        show(perSecond, 0),
        show(cpuMicros, 1),
        show(busy, 2),
        show(medianMs, 2),
        show(p99Ms, 2),
        show(bytes, 0)
      ]
    )
  )
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

function show(value: number | undefined, digits: number): string {
  return value === undefined ? '' : value.toFixed(digits)
}

function machine(): string[] {
  const packages = ['fastify', 'better-auth', 'oidc-provider', 'ioredis', 'pg', 'autocannon'].map(
    (name) => `${name} ${version(name)}`
  )
  return [
    `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${system()} ${release()}`,
    `Node ${process.versions.node}, ${run('redis-server', '--version').replace(/ sha=.*/, '')}, ${packages.join(', ')}`,
    `commit ${run('git', 'rev-parse', '--short', 'HEAD')}${run('git', 'status', '--porcelain', '--untracked-files=no', '.', ':!*.md') === '' ? '' : ' with changes'}, ${new Date().toISOString().slice(0, 10)}`
  ]
}

function version(name: string): string {
  return (
    JSON.parse(
      readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), 'utf8')
    ) as { version: string }
  ).version
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, {
    encoding: 'utf8',
    cwd: new URL('../..', import.meta.url)
  }).trim()
}

function reaches(measured: number, bound: Bound | null): boolean {
  if (!bound) return true
  return 'atLeast' in bound ? measured >= bound.atLeast : measured <= bound.atMost
}

function describe(bound: Bound | null, unit: string): string {
  if (!bound) return 'shown'
  return 'atLeast' in bound ? `≥ ${bound.atLeast}${unit}` : `≤ ${bound.atMost}${unit}`
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
