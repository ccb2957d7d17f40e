/*
 * The one style sheet of the pages. Colours meet WCAG 2.2 AA in both schemes. The accent fills
 * buttons; its text is black or white, whichever is easier to read on it. Links keep the colour of
 * the text, so that no accent can make them unreadable.
 */

/** The default accent: a dark blue. */
export const DEFAULT_ACCENT = '#1f4f82'

/** The style sheet. @param accent `#rrggbb` */
export function styleSheet(accent: string): string {
  return `:root{--accent:${accent};--on-accent:${textOn(accent)};--text:#1b1f24;--soft:#57606a;--back:#f6f7f9;--card:#fff;--line:#8c959f;--wrong:#a40e26;--wrong-back:#fff0f0;--note-back:#eaf3fb;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--text:#e6e9ec;--soft:#a9b2bc;--back:#101418;--card:#181d23;--line:#6b7681;--wrong:#ff9aa2;--wrong-back:#2e1517;--note-back:#152535}}
${RULES}`
}

/** Black or white, whichever has the greater contrast (WCAG 2.2, relative luminance). */
function textOn(accent: string): '#000' | '#fff' {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(accent.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? '#000' : '#fff'
}

const RULES = `*,*::before,*::after{box-sizing:border-box}
.holdfast{margin:0;background:var(--back);color:var(--text);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
.holdfast [hidden]{display:none!important}
.holdfast a{color:inherit;text-underline-offset:.15em}
.holdfast :focus-visible{outline:3px solid var(--text);outline-offset:2px}
.holdfast h1{font-size:1.6rem;line-height:1.25;margin:0 0 1rem}
.holdfast h2{font-size:1.2rem;line-height:1.3;margin:0 0 .5rem}
.holdfast h3{font-size:1rem;margin:1.25rem 0 .25rem}
.holdfast p{margin:0 0 1rem}
.holdfast section{margin-top:2.5rem}
.holdfast header,.holdfast main,.holdfast footer{width:100%;max-width:44rem;margin:0 auto;padding:1rem}
.holdfast header{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;align-items:center}
.holdfast main{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1.5rem}
@media (max-width:46rem){.holdfast main{border-left:0;border-right:0;border-radius:0;padding:1rem}}
.holdfast .brand{display:flex;align-items:center;gap:.5rem;font-weight:700;text-decoration:none}
.holdfast .skip{position:absolute;left:-100vw}
.holdfast .skip:focus{left:.5rem;top:.5rem;background:var(--card);padding:.5rem}
.holdfast nav ul,.holdfast footer ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;margin:0;padding:0}
.holdfast nav li,.holdfast footer li{display:flex;align-items:center;min-height:2rem}
.holdfast nav a[aria-current]{font-weight:700;text-decoration:none}
.holdfast footer{color:var(--soft)}
.holdfast form{margin:0 0 1rem}
.holdfast .field{margin:0 0 1.25rem}
.holdfast label{display:block;font-weight:600}
.holdfast .hint{color:var(--soft);font-size:.925rem;margin:0 0 .25rem}
.holdfast .error{color:var(--wrong);font-weight:600;margin:0 0 .25rem}
.holdfast input,.holdfast select{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:.35rem;padding:.5rem .6rem;width:100%;max-width:26rem;min-height:2.75rem}
.holdfast .wrong>input{border:2px solid var(--wrong)}
.holdfast .choice{display:grid;grid-template-columns:auto 1fr;gap:0 .6rem;align-items:center;margin:0 0 1.25rem}
.holdfast .choice input{width:1.25rem;min-height:1.25rem;height:1.25rem}
.holdfast .choice .hint{grid-column:2}
.holdfast button,.holdfast .button{display:inline-block;font:inherit;font-weight:600;background:var(--accent);color:var(--on-accent);border:2px solid transparent;border-radius:.35rem;padding:.5rem 1rem;min-height:2.75rem;cursor:pointer;text-decoration:none}
.holdfast button.secondary{background:transparent;color:inherit;border-color:var(--line)}
.holdfast button.danger{background:transparent;color:var(--wrong);border-color:var(--wrong)}
.holdfast button.plain{background:none;color:inherit;border:0;padding:0;min-height:0;font-weight:400;text-decoration:underline;text-underline-offset:.15em}
.holdfast nav form,.holdfast form.inline{display:inline-block;margin:0}
.holdfast .action{margin:0 0 1rem}
.holdfast .notice{background:var(--note-back);border-left:4px solid var(--line);padding:.75rem 1rem;margin:0 0 1.25rem}
.holdfast .notice.wrong{background:var(--wrong-back);border-color:var(--wrong);color:var(--wrong)}
.holdfast .notice>:last-child{margin-bottom:0}
.holdfast .cards,.holdfast .events{list-style:none;margin:0 0 1rem;padding:0}
.holdfast .card{border:1px solid var(--line);border-radius:.5rem;padding:.75rem 1rem;margin:0 0 .75rem}
.holdfast .card p{margin:0 0 .35rem}
.holdfast .ended{border-style:dashed}
.holdfast .events li{border-top:1px solid var(--line);padding:.6rem 0}
.holdfast .events p{margin:0}
.holdfast .badge{display:inline-block;border:1px solid var(--line);border-radius:1rem;font-size:.85rem;padding:0 .6rem;margin-left:.5rem}
.holdfast .badge.wrong{color:var(--wrong);border-color:var(--wrong)}
.holdfast .person{display:flex;align-items:center;gap:.75rem}
.holdfast .avatar{flex:none;width:3rem;height:3rem;border-radius:50%;display:inline-flex;align-items:center;justify-content:center;background:var(--accent);color:var(--on-accent);font-weight:700;object-fit:cover}
.holdfast .qr{display:block;width:100%;max-width:15rem;margin:0 0 1rem}
.holdfast code{font:1rem/1.6 ui-monospace,monospace}
.holdfast .codes{columns:2;max-width:22rem;padding-left:1.5rem}
.holdfast dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:0 0 1rem}
.holdfast dt{color:var(--soft)}
.holdfast dd{margin:0}
@media (max-width:30rem){.holdfast dl{grid-template-columns:1fr;gap:0}.holdfast dd{margin:0 0 .5rem}}
.holdfast .search{display:flex;flex-wrap:wrap;gap:0 1rem;align-items:end}
.holdfast .search .field{flex:1 1 16rem}
.holdfast .search button{margin-bottom:1.25rem}
`
