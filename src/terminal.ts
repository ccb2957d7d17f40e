import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import type { Progress } from './operator.js'

/** What a person reads: a list as a table, an object as a table of its fields. Anything else as JSON. */
export function toTable(result: unknown): string {
  if (Array.isArray(result)) {
    const rows = result.filter(isRecord)
    const columns = [...new Set(rows.flatMap((row) => Object.keys(row).filter((column) => shown(row[column]) !== '')))]
    if (columns.length === 0) return 'none'
    const table = new Table({ head: columns, style: { head: [], border: [] } })
    for (const row of rows) table.push(columns.map((column) => shown(row[column])))
    return table.toString()
  }
  if (!isRecord(result)) return JSON.stringify(result)
  const table = new Table({ style: { head: [], border: [] } })
  for (const [field, value] of Object.entries(result)) table.push([field, shown(value)])
  return table.toString()
}

/** A bar on stderr, which leaves stdout to the result. It is not drawn before something is done. */
export function progressBar(): { onProgress: Progress, end: () => void } {
  const bar = new SingleBar({ format: '{bar} {percentage} %  {value} of {total}', hideCursor: true, clearOnComplete: true, stream: process.stderr })
  let isDrawn = false
  return {
    onProgress(done, total) {
      if (total === 0) return
      if (!isDrawn) bar.start(total, done)
      isDrawn = true
      bar.update(Math.min(done, total))
    },
    end() { if (isDrawn) bar.stop() }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// Names and user agents are others' words: what moves the cursor or colours the screen is left out.
function shown(value: unknown): string {
  const text = value === null || value === undefined ? '' : Array.isArray(value) ? value.join(', ') : value instanceof Date ? value.toISOString() : typeof value === 'string' ? value : JSON.stringify(value)
  return text.replaceAll(/\p{Cc}/gu, '')
}
