import { usePage } from './page.js'

/**
 * A person's image where it comes from this origin, else their initials. The policy of the pages
 * blocks images of other origins, which would also tell a third party who looks at the page.
 */
export function Avatar({ user }: { user: { name: string; image: string | null } }) {
  const { settings } = usePage()
  const url =
    user.image !== null && URL.canParse(user.image, settings.origin)
      ? new URL(user.image, settings.origin)
      : null
  if (url && /^https?:$/.test(url.protocol) && url.origin === settings.origin)
    return <img class="avatar" src={url.href} alt="" width="48" height="48" />
  return (
    <span class="avatar" aria-hidden="true">
      {initials(user.name)}
    </span>
  )
}

/** The first letters of the first and the last word. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]]
  return letters
    .map((word) => (word ? String.fromCodePoint(word.codePointAt(0) ?? 32) : ''))
    .join('')
    .toUpperCase()
}
