import { de } from './de.js'
import { en } from './en.js'

/** The texts of the pages. A language that lacks one does not compile. */
export type Texts = typeof en

export const dictionaries = { en, de } satisfies Record<string, Texts>

export type Language = keyof typeof dictionaries

/** The languages with their own names, in the order in which they are offered. */
export const languages: readonly { code: Language; name: string }[] = [
  { code: 'en', name: 'English' },
  { code: 'de', name: 'Deutsch' }
]

/**
 * The language of a page: the one that the address names, or the one that was chosen before, or the
 * one that the browser prefers (RFC 9110 12.5.4).
 */
export function languageFrom(
  wanted: string | undefined,
  chosen: string | undefined,
  accepted: string | undefined
): Language {
  if (isLanguage(wanted)) return wanted
  if (isLanguage(chosen)) return chosen
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

export function isLanguage(value: string | undefined): value is Language {
  return value !== undefined && Object.hasOwn(dictionaries, value)
}
