import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import type { Progress } from '../operator/operation.js'
import { isUuid } from '../uuid.js'

export interface TableOptions {
  /** Columns of the terminal; a table never takes more than a hundred. */
  width?: number | undefined
  /** Milliseconds since 1970: times in lists are told from here. */
  now: number
}

/** Widest and narrowest table, in columns: an id is never broken. */
const MAX_WIDTH = 100
const MIN_WIDTH = 60
/** Narrower, a column of text says nothing: then each record is a block of lines. */
const MIN_TEXT = 10
const GAP = 2

/**
 * What a person reads: a list as a table, an object as a table of its fields. Anything else as
 * JSON.
 */
export function toTable(result: unknown, { width = MAX_WIDTH, now }: TableOptions): string {
  const columns = Math.min(Math.max(width, MIN_WIDTH), MAX_WIDTH)
  if (Array.isArray(result)) return toList(result.filter(isRecord), columns, now)
  return isRecord(result) ? toFields(result, columns, now) : JSON.stringify(result)
}

/** A bar on stderr, which leaves stdout to the result. It is not drawn before something is done. */
export function progressBar(): { onProgress: Progress; end: () => void } {
  const bar = new SingleBar({
    format: '{bar} {percentage} %  {value} of {total}',
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr
  })
  let isDrawn = false
  return {
    onProgress(done, total) {
      if (total === 0) return
      if (!isDrawn) bar.start(total, done)
      isDrawn = true
      bar.update(Math.min(done, total))
    },
    end() {
      if (isDrawn) bar.stop()
    }
  }
}

interface Column {
  head: string
  cells: string[]
  width: number
  /** Ids and times are copied and compared: they are not broken. */
  isFixed: boolean
}

function toList(records: readonly Record<string, unknown>[], width: number, now: number): string {
  const names = [...new Set(records.flatMap((record) => Object.keys(record)))]
  const columns = names
    .map((name) =>
      toColumn(
        name,
        records.map((record) => record[name]),
        now
      )
    )
    .filter(({ cells }) => cells.some((cell) => cell !== ''))
  if (columns.length === 0) return 'none'
  if (!fit(columns, width))
    return records.map((record) => toFields(record, width, now)).join('\n\n')
  return render([
    columns.map(({ head }) => head),
    ...records.map((_record, row) =>
      columns.map(({ cells, width }) => wrap(cells[row] ?? '', width))
    )
  ])
}

function toColumn(name: string, values: readonly unknown[], now: number): Column {
  const head = wordsFrom(name).toUpperCase()
  const cells = values.map((value) => (isTime(value) ? toAge(value, now) : toText(value)))
  const isFixed = values.every(
    (value) =>
      value === null ||
      value === undefined ||
      typeof value === 'number' ||
      isTime(value) ||
      isUuid(value)
  )
  return { head, cells, isFixed, width: Math.max(...[head, ...cells].map(textWidth)) }
}

/** Narrows the widest columns of text until the table fits. @returns whether it does */
function fit(columns: readonly Column[], width: number): boolean {
  let over = columns.reduce((sum, column) => sum + column.width + GAP, -GAP) - width
  for (; over > 0; over--) {
    const [widest] = columns
      .filter(({ isFixed, width, head }) => !isFixed && width > Math.max(MIN_TEXT, head.length))
      .toSorted((a, b) => b.width - a.width)
    if (!widest) return false
    widest.width--
  }
  return true
}

function toFields(record: Record<string, unknown>, width: number, now: number): string {
  const fields = Object.entries(record).map(
    ([name, value]) =>
      [
        wordsFrom(name),
        isTime(value) ? `${toMinute(value)} (${toAge(value, now)})` : toText(value)
      ] as const
  )
  const room = width - Math.max(...fields.map(([name]) => name.length)) - GAP
  return render(fields.map(([name, text]) => [name, wrap(text, room)]))
}

const chars = Object.fromEntries(
  [
    'top',
    'top-mid',
    'top-left',
    'top-right',
    'bottom',
    'bottom-mid',
    'bottom-left',
    'bottom-right',
    'left',
    'left-mid',
    'mid',
    'mid-mid',
    'right',
    'right-mid'
  ].map((name) => [name, ''])
)

function render(rows: string[][]): string {
  const table = new Table({
    chars: { ...chars, middle: ' '.repeat(GAP) },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  })
  table.push(...rows)
  return table.toString().replaceAll(/ +$/gm, '')
}

/** `lastSeenAt` is "last seen", `ipAddress` "ip address". */
function wordsFrom(name: string): string {
  return name
    .replaceAll('_', ' ')
    .replace(/(?<=[a-z])(At|Id)$/, (suffix) => (suffix === 'Id' ? ' id' : ''))
    .replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter}`)
    .toLowerCase()
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/

// Through a server's control socket a time comes as JSON has it.
function isTime(value: unknown): value is Date | string {
  return value instanceof Date || (typeof value === 'string' && TIME.test(value))
}

function toMinute(time: Date | string): string {
  return `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

const units: [name: string, seconds: number][] = [
  ['y', 31_557_600],
  ['d', 86_400],
  ['h', 3_600],
  ['m', 60],
  ['s', 1]
]

/** "3m ago", "in 6d": the largest unit alone. */
function toAge(time: Date | string, now: number): string {
  const seconds = Math.round((now - new Date(time).getTime()) / 1000)
  const distance = Math.abs(seconds)
  const [name, length] = units.find(([, unit]) => distance >= unit) ?? ['s', 1]
  if (distance === 0) return 'now'
  const count = `${Math.floor(distance / length)}${name}`
  return seconds < 0 ? `in ${count}` : `${count} ago`
}

// Names and user agents are others' words: what moves the cursor, colours the screen or turns the
// direction of what follows is left out.
function toText(value: unknown): string {
  const text =
    value === null || value === undefined
      ? ''
      : Array.isArray(value)
        ? value.map(toText).join(', ')
        : typeof value === 'string'
          ? value
          : JSON.stringify(value)
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '')
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}]/u

/** How many columns of a terminal a text takes. */
function textWidth(text: string): number {
  let width = 0
  for (const character of text) width += WIDE.test(character) ? 2 : 1
  return width
}

/** Breaks a text into lines: at blanks, and within a word where it is longer than a line. */
function wrap(text: string, width: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && textWidth(line) + 1 + textWidth(word) <= width) {
      line += ` ${word}`
      continue
    }
    if (line !== '') lines.push(line)
    line = ''
    for (const character of word) {
      if (textWidth(line) + textWidth(character) > width) {
        lines.push(line)
        line = ''
      }
      line += character
    }
  }
  return [...lines, line].join('\n')
}
