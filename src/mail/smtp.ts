import type { TLSSocket } from 'node:tls'
import type { ComposedMail } from './compose.js'
import { MailRefused } from './mail.js'
import type { SmtpTarget } from './smtp-url.js'

/** How long it may take to connect, with the greeting and TLS, in milliseconds. */
const CONNECT_MS = 15_000
/**
 * How long the whole of a mail may take, in milliseconds. A reply has no shorter limit: a server
 * that filters before it answers would be given the same mail again and again.
 */
export const SEND_MS = 45_000

/** Replies that are about us, and not about the mail: authentication is missing, or was refused. */
const LOGIN_REPLIES = new Set([530, 534, 535, 538])
const ENVELOPE = new Set(['MAIL FROM', 'RCPT TO', 'DATA'])

/** What the server said to a mail. */
export interface SmtpReceipt {
  /** Its last reply, such as `250 2.0.0 Ok: queued as 4D2F`. */
  reply: string
  /** The version of TLS, such as `TLSv1.3`. Null without. */
  tls: string | null
}

/** A mail could not be handed over now. It can be tried again. */
export class SmtpFailed extends Error {
  override readonly name = 'SmtpFailed'
  /** What the server said. It may name addresses: for the operator who asked, and for no log. */
  readonly reply: string | null

  constructor(message: string, reply: string | null = null) {
    super(message)
    this.reply = reply
  }
}

/** What nodemailer puts on its errors. */
interface SmtpError extends Error {
  code?: string
  originalCode?: string
  command?: string
  responseCode?: number
  response?: string
}

/**
 * Hands a mail to a server, on a connection of its own.
 *
 * @param ca the authorities that sign the server's certificate, as PEM; undefined for the system's
 * @param signal breaks it off; the server may have taken the mail all the same
 * @throws MailRefused where the server will never take it
 * @throws SmtpFailed for anything else
 */
export async function sendBySmtp(
  { host, port, tls, login, name }: SmtpTarget,
  ca: string | undefined,
  mail: ComposedMail,
  signal: AbortSignal
): Promise<SmtpReceipt> {
  const { default: SmtpConnection } = await import('nodemailer/lib/smtp-connection')
  if (signal.aborted) throw new SmtpFailed('the process is stopping')
  const connection = new SmtpConnection({
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'none',
    ...(name === null ? {} : { name }),
    connectionTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    dnsTimeout: CONNECT_MS,
    socketTimeout: SEND_MS,
    socketCloseTimeout: 1_000,
    tls: { rejectUnauthorized: true, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) }
  })
  try {
    return await new Promise<SmtpReceipt>((resolve, reject) => {
      const fail = (error: Error) => reject(toFailure(error))
      const timer = setTimeout(
        () => reject(new SmtpFailed(`the mail server took longer than ${SEND_MS / 1000} s`)),
        SEND_MS
      )
      const stop = () => reject(new SmtpFailed('the process is stopping'))
      signal.addEventListener('abort', stop, { once: true })
      const settle = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', stop)
      }
      const hand = () =>
        connection.send({ from: mail.from, to: [mail.to] }, mail.raw, (error, info) => {
          settle()
          if (error) return fail(error)
          resolve({ reply: info?.response ?? '', tls: tlsVersion(connection) })
        })
      connection.on('error', (error: Error) => {
        settle()
        fail(error)
      })
      connection.once('end', () => {
        settle()
        reject(new SmtpFailed('the mail server closed the connection'))
      })
      connection.connect((error) => {
        if (error) return fail(error)
        if (login === null) return hand()
        connection.login({ credentials: { user: login.user, pass: login.password } }, (refused) =>
          refused ? fail(refused) : hand()
        )
      })
    })
  } finally {
    connection.close()
  }
}

function tlsVersion(connection: { secure: boolean; _socket: unknown }): string | null {
  if (!connection.secure) return null
  return (connection._socket as TLSSocket | null)?.getProtocol?.() ?? 'TLS'
}

/**
 * What an error means. A reply repeats addresses, so messages have only its codes.
 */
function toFailure(error: SmtpError): Error {
  const { command = '', responseCode, response = '', code } = error
  if (responseCode === undefined) {
    // Errors about the mail itself repeat its addresses.
    const text = code === 'EENVELOPE' || code === 'EMESSAGE' ? '' : error.message.slice(0, 500)
    const detail = [error.originalCode ?? code, text].filter(Boolean).join(': ')
    return new SmtpFailed(`the mail server cannot be used: ${detail}`)
  }
  const [, enhanced] = /^\d{3}[ -](\d\.\d{1,3}\.\d{1,3})\b/.exec(response) ?? []
  const codes = [responseCode, enhanced].filter((part) => part !== undefined).join(' ')
  const isFinal = responseCode >= 500 && responseCode < 600 && ENVELOPE.has(command)
  if (isFinal && code !== 'EAUTH' && !LOGIN_REPLIES.has(responseCode))
    return new MailRefused(`smtp ${codes}`, new SmtpFailed(`to ${command}`, response))
  return new SmtpFailed(`the mail server answered ${codes} to ${command || 'a command'}`, response)
}
