import { isLanguage, preferredLanguage, type Language } from '../../../src/language.js'
import { de } from './de.js'
import { en } from './en.js'

/** The texts of the pages. A language that lacks one does not compile. */
export type Texts = typeof en

export const dictionaries: Record<Language, Texts> = { en, de }

/**
 * The language of a page: the one that the address names, or the one that was chosen before, or the
 * one that the browser prefers.
 */
export function languageFrom(
  wanted: string | undefined,
  chosen: string | undefined,
  accepted: string | undefined
): Language {
  if (isLanguage(wanted)) return wanted
  return isLanguage(chosen) ? chosen : preferredLanguage(accepted)
}
