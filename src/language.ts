/** The languages of pages and mails, with their own names, in the order in which they are offered. */
export const languages = [
  { code: 'en', name: 'English' },
  { code: 'de', name: 'Deutsch' }
] as const

export type Language = (typeof languages)[number]['code']

export function isLanguage(value: unknown): value is Language {
  return languages.some(({ code }) => code === value)
}

/**
 * The language that an `Accept-Language` header prefers among ours (RFC 9110 12.5.4). English where
 * it names none.
 */
export function preferredLanguage(accepted: string | undefined): Language {
  const preferred = (accepted ?? '')
    .slice(0, 500)
    .split(',')
    .map((part) => {
      const [range = '', ...parameters] = part.trim().toLowerCase().split(';')
      const quality = /^\s*q=([01](?:\.\d{0,3})?)\s*$/.exec(parameters.join(';'))?.[1] ?? '1'
      return { language: range.trim().split('-', 1)[0], quality: Number(quality) }
    })
    .filter(({ quality }) => quality > 0)
    .toSorted((one, other) => other.quality - one.quality)
  for (const { language } of preferred) if (isLanguage(language)) return language
  return 'en'
}
