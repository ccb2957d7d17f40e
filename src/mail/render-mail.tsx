import { renderToString } from 'preact-render-to-string'
import type { MailContent, MailTexts } from './mail.js'
import { toBlocks } from './mail-blocks.js'
import { MailDocument } from './mail-document.js'
import { toPlainText } from './plain-text.js'

/** Makes the texts of a mail. Text and HTML say the same. */
export function renderMail(content: MailContent): MailTexts {
  const blocks = toBlocks(content)
  return {
    subject: blocks.subject,
    text: toPlainText(blocks),
    html: `<!doctype html>${renderToString(<MailDocument {...blocks} />)}`
  }
}
