import { randomUUID } from 'node:crypto'
import type { Mailbox, ReadMail } from './mailbox.js'
import { Browser, password, type Running } from './server.js'

/** A status with a body, such as `403 PASSWORD_NEEDED`. */
export interface MailAnswer {
  status: number
  body: Record<string, unknown>
  /** The status, with the code of an error behind it. */
  outcome: string
}

/** Sends a request to an endpoint of better-auth, and reads the answer. */
export async function ask(
  browser: Browser,
  path: string,
  body: unknown = {},
  headers: Record<string, string> = {}
): Promise<MailAnswer> {
  const response = await browser.post(`/api/auth${path}`, body, headers)
  const text = await response.text()
  const read = text === '' ? {} : (JSON.parse(text) as Record<string, unknown> | null)
  const code = response.ok ? undefined : (read?.['code'] ?? read?.['cause'])
  return {
    status: response.status,
    body: read ?? {},
    outcome: typeof code === 'string' ? `${response.status} ${code}` : `${response.status}`
  }
}

export const newAddress = () => `${randomUUID()}@example.com`

/** An app: it has no cookies, and sends its challenge back by itself. */
export class App extends Browser {
  /** Its tokens, of its last sign-in. */
  tokens: { access_token: string; refresh_token: string } | null = null

  constructor(url: string) {
    super(url)
    this.headers = { 'token-transport': 'body' }
  }

  override async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await super.fetch(path, init)
    const body = (await response
      .clone()
      .json()
      .catch(() => null)) as { challenge?: string; tokens?: App['tokens'] } | null
    if (body?.challenge !== undefined) this.headers['mail-challenge'] = body.challenge
    if (body?.tokens) this.tokens = body.tokens
    return response
  }
}

/** Signs up, and leaves the address unproven. */
export async function signUpAt(
  browser: Browser,
  email: string,
  secret = password
): Promise<string> {
  const { outcome, body } = await ask(browser, '/sign-up/email', {
    name: 'Ada Lovelace',
    email,
    password: secret
  })
  if (outcome !== '200') throw new Error(`sign-up answered ${outcome}`)
  return (body['user'] as { id: string }).id
}

/** A user with a proven address, in the browser that signed up. */
export async function newProven(
  { url }: Pick<Running, 'url'>,
  mailbox: Mailbox,
  email = newAddress()
): Promise<{ browser: Browser; email: string; id: string }> {
  const browser = new Browser(url)
  const id = await signUpAt(browser, email)
  const { token } = await mailbox.next('verify', email)
  const { outcome } = await ask(browser, '/verify-email', { token })
  if (outcome !== '200') throw new Error(`verify-email answered ${outcome}`)
  return { browser, email, id }
}

/** Asks for a mail, and reads it. */
export async function mailFor(
  mailbox: Mailbox,
  browser: Browser,
  email: string,
  kind: 'reset' | 'sign-in' | 'verify'
): Promise<ReadMail> {
  const { outcome } =
    kind === 'reset'
      ? await ask(browser, '/request-password-reset', { email })
      : await ask(browser, '/email-otp/send-verification-otp', {
          email,
          type: kind === 'verify' ? 'email-verification' : 'sign-in'
        })
  if (outcome !== '200') throw new Error(`a request for ${kind} answered ${outcome}`)
  return mailbox.next(kind, email)
}
