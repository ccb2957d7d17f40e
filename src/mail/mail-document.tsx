import type { MailBlock, MailBlocks } from './mail-blocks.js'

/*
 * One column, with styles at each element: many mail programs drop style sheets. The text has no
 * colour of its own, so that it is readable on the light and the dark background of any program.
 */

const COLUMN = {
  maxWidth: '576px',
  margin: '0 auto',
  padding: '24px 16px',
  fontFamily: 'system-ui,-apple-system,Roboto,Helvetica,Arial,sans-serif',
  fontSize: '16px',
  lineHeight: '1.5',
  overflowWrap: 'break-word',
  wordBreak: 'break-word'
} as const
const HEADING = { fontSize: '24px', lineHeight: '1.25', fontWeight: '700', margin: '0 0 16px' }
const PARAGRAPH = { margin: '0 0 16px' }
const FACTS = {
  borderLeft: '4px solid #8c959f',
  padding: '4px 0 4px 12px',
  margin: '0 0 20px'
}
const BUTTON = {
  display: 'inline-block',
  border: '2px solid #8c959f',
  borderRadius: '6px',
  padding: '10px 20px',
  fontWeight: '600',
  textDecoration: 'none',
  color: 'inherit'
}
const MAIN_BUTTON = {
  ...BUTTON,
  borderColor: '#1f4f82',
  backgroundColor: '#1f4f82',
  color: '#ffffff'
}
const LINK = { color: 'inherit', textDecoration: 'underline', wordBreak: 'break-all' } as const
// One word, which is copied as six digits.
const CODE = {
  fontFamily: 'ui-monospace,Menlo,Consolas,monospace',
  fontSize: '32px',
  lineHeight: '1.25',
  fontWeight: '700',
  letterSpacing: '8px',
  margin: '0 0 16px'
}
const BUTTON_LINE = { margin: '20px 0 12px' }
const SMALL = { fontSize: '14px', margin: '0 0 20px' }
const FOOTER = {
  borderTop: '1px solid #8c959f',
  paddingTop: '12px',
  margin: '24px 0 0',
  fontSize: '14px'
}

/** The HTML of a mail. */
export function MailDocument({ language, subject, blocks, buttonHint, footer }: MailBlocks) {
  return (
    <html lang={language} dir="ltr">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="supported-color-schemes" content="light dark" />
        {/* Otherwise iOS makes a telephone number of the code. */}
        <meta name="format-detection" content="telephone=no, date=no, address=no, email=no" />
        <title>{subject}</title>
      </head>
      <body style={{ margin: '0', padding: '0' }}>
        {/* Mail programs drop the element html, and its language. */}
        <div lang={language} dir="ltr" style={COLUMN}>
          <h1 style={HEADING}>{subject}</h1>
          {blocks.map((block) => (
            <Block block={block} buttonHint={buttonHint} />
          ))}
          <div style={FOOTER}>
            {footer.sentBy}
            <br />
            {footer.origin}
          </div>
        </div>
      </body>
    </html>
  )
}

function Block({ block, buttonHint }: { block: MailBlock; buttonHint: string }) {
  if (block.type === 'paragraph') return <p style={PARAGRAPH}>{block.text}</p>
  if (block.type === 'code') return <p style={CODE}>{block.code}</p>
  if (block.type === 'link') return <Link block={block} buttonHint={buttonHint} />
  return (
    <div style={FACTS}>
      {block.rows.map(({ label, value }) => (
        <div>
          {`${label}: `}
          <b>{value}</b>
        </div>
      ))}
    </div>
  )
}

/** A link as a button, and as text. */
function Link({
  block: { label, href, isMain },
  buttonHint
}: {
  block: Extract<MailBlock, { type: 'link' }>
  buttonHint: string
}) {
  return (
    <>
      <p style={BUTTON_LINE}>
        <a href={href} style={isMain ? MAIN_BUTTON : BUTTON}>
          {label}
        </a>
      </p>
      <p style={SMALL}>
        {buttonHint}
        <br />
        <a href={href} style={LINK}>
          {href}
        </a>
      </p>
    </>
  )
}
