import type { MailBlock, MailBlocks } from './mail-blocks.js'

/** Columns. A link is not broken, and stands on a line of its own. */
const WIDTH = 72

/** The text part of a mail. */
export function toPlainText({ subject, blocks, footer }: MailBlocks): string {
  const parts = [
    wrap(subject),
    ...blocks.map(blockInText),
    // Mail programs show what stands below this line as less important (RFC 3676 4.3).
    ['-- ', wrap(footer.sentBy), footer.origin].join('\n')
  ]
  return `${parts.join('\n\n')}\n`
}

function blockInText(block: MailBlock): string {
  if (block.type === 'paragraph') return wrap(block.text)
  if (block.type === 'facts')
    return block.rows.map(({ label, value }) => wrap(`${label}: ${value}`)).join('\n')
  return block.type === 'link' ? `${block.label}:\n${block.href}` : block.code
}

/** Breaks a text between words. A word that is longer than a line is not broken. */
function wrap(text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join('\n')
}
