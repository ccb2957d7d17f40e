import { PageBrowser } from './page-browser.js'
import { makeAdmin, password, signUp, type Person, type Running } from './server.js'

/** A person, and a browser in which they look at pages. */
export interface PagePerson extends Person {
  pages: PageBrowser
}

/** A browser of pages that has a person's cookies. */
export function pagesOf({ browser }: Person): PageBrowser {
  const pages = new PageBrowser(browser.url)
  for (const [name, value] of browser.cookies) pages.cookies.set(name, value)
  return pages
}

/** Signs up a new user, who looks at pages. */
export async function newPagePerson(url: string): Promise<PagePerson> {
  const person = await signUp(url)
  return { ...person, pages: pagesOf(person) }
}

/** Signs up an administrator, who looks at pages. */
export async function newPageAdmin(running: Running): Promise<PagePerson> {
  const person = await newPagePerson(running.url)
  await makeAdmin(running, person)
  return person
}

/** Signs a person up by the page, in a browser of their own. */
export async function signUpByPage(
  url: string,
  person: { name: string; email: string }
): Promise<PageBrowser> {
  const browser = new PageBrowser(url)
  const { status, location } = await browser.submit('/sign-up', { ...person, password })
  if (status !== 303 || location !== '/account') throw new Error(`sign-up answered ${status}`)
  return browser
}
