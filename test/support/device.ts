import { createHmac } from 'node:crypto'
import { createAuthClient } from 'better-auth/client'
import { adminClient, oneTimeTokenClient, twoFactorClient } from 'better-auth/client/plugins'
import {
  makeAdmin,
  password,
  proveAddress,
  Browser,
  signIn,
  signUp,
  type Person,
  type Running
} from './server.js'

/**
 * Answers to requests with a session cookie that still contained a session token. Must stay empty.
 */
export const leaks: string[] = []

/**
 * better-auth's official client, unmodified, in a browser that keeps its cookies and records its
 * answers.
 */
export function officialClient(browser: Browser) {
  return createAuthClient({
    baseURL: browser.url,
    plugins: [adminClient(), twoFactorClient(), oneTimeTokenClient()],
    fetchOptions: {
      customFetchImpl: async (input, init) => {
        const showedCookie = browser.cookies.has('holdfast.session_token')
        const { href } = new URL(input instanceof Request ? input.url : input)
        const response = await browser.fetch(href, init)
        const body = await response.clone().text()
        if (showedCookie && (body.includes('hst1_') || response.headers.has('set-auth-token')))
          leaks.push(`${href} ${body}`)
        return response
      }
    }
  })
}

/** A user's browser with the official client in it. */
export type Device = Person & { client: ReturnType<typeof officialClient> }

export async function newPerson(url: string): Promise<Device> {
  const person = await signUp(url)
  return { ...person, client: officialClient(person.browser) }
}

/** Another device of the same user. */
export async function anotherDevice(
  { browser, email }: Person,
  secret = password
): Promise<Device> {
  const person = await signIn(browser.url, email, secret)
  return { ...person, client: officialClient(person.browser) }
}

/** A browser with a copy of another one's present cookies. */
export function withCookiesOf({ url, cookies }: Browser): Browser {
  const browser = new Browser(url)
  for (const [name, value] of cookies) browser.cookies.set(name, value)
  return browser
}

export async function newAdmin(running: Running): Promise<Device> {
  const admin = await newPerson(running.url)
  await makeAdmin(running, admin)
  return admin
}

/**
 * Turns the second factor on, at an address that is proven. The answer has the URI of the authenticator app and the backup codes.
 */
export async function enrol(device: Device): Promise<{ totpURI: string; backupCodes: string[] }> {
  await proveAddress(device)
  const { data, error } = await device.client.twoFactor.enable({ password })
  if (!data || !('totpURI' in data))
    throw new Error(`enable answered ${error?.status} ${error?.message}`)
  // Each step's code counts once: the current one is left for the test.
  let verified = await device.client.twoFactor.verifyTotp({ code: totp(data.totpURI, -1) })
  // The step has ended in between.
  if (verified.error)
    verified = await device.client.twoFactor.verifyTotp({ code: totp(data.totpURI, -1) })
  if (verified.error)
    throw new Error(`verify-totp answered ${verified.error.status} ${verified.error.message}`)
  return { totpURI: data.totpURI, backupCodes: data.backupCodes }
}

/**
 * As if a step had passed: the code that the app shows now is accepted, even if one of this step
 * has been used.
 */
export async function nextStep({ app }: Running, userId: string): Promise<void> {
  await app.holdfast.prisma.twoFactor.updateMany({
    where: { userId },
    data: { lastUsedStep: null }
  })
}

/**
 * The code that an authenticator app shows now, or a number of steps later (RFC 6238: SHA-1, 30 s,
 * 6 digits).
 */
export function totp(totpURI: string, steps = 0): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps))
  const digest = createHmac('sha1', fromBase32(new URL(totpURI).searchParams.get('secret') ?? ''))
    .update(counter)
    .digest()
  const offset = digest.readUInt8(19) & 0xf
  return String((digest.readUInt32BE(offset) & 0x7fff_ffff) % 1_000_000).padStart(6, '0')
}

function fromBase32(text: string): Buffer {
  const bits = Array.from(text.replace(/=+$/, ''), (character) =>
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(character).toString(2).padStart(5, '0')
  ).join('')
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}
