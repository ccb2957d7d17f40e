import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { simpleParser, type ParsedMail } from 'mailparser'
import { SMTPServer, type SMTPServerSession } from 'smtp-server'
import type { Test } from 'tap'
import { makeCertificate, type Certificate } from './certificate.js'

/** A mail that a server was given. */
export interface ReceivedMail {
  from: string
  to: string[]
  raw: string
  /** Whether it came over TLS. */
  secure: boolean
  /** The user who has signed in. */
  user: string | undefined
}

/** In place of a reply to a mail: the connection breaks. */
export const DROP = 'drop'

/** What a server does with a step: takes it, or answers with a reply such as `451 4.3.0 Later`. */
export type Reply = string | null

export interface MailServerOptions {
  /** TLS from the start. */
  secure?: boolean
  certificate?: Certificate
  /** Without it nobody has to sign in. */
  login?: { user: string; password: string }
  port?: number
  /** Whether it says that it has STARTTLS. Yes by default. */
  offersTls?: boolean
}

/** A real SMTP server on loopback. */
export class MailServer {
  readonly received: ReceivedMail[] = []
  /** The steps may be replaced at any time. */
  onRecipient: (address: string) => Reply | Promise<Reply> = () => null
  /** Called when the whole mail is there, before its reply. `DROP` breaks the connection instead. */
  onMail: (mail: ReceivedMail) => Reply | Promise<Reply> = () => null
  /** The most connections that were open at once. */
  mostConnections = 0
  logins = 0
  #server: SMTPServer
  #port = 0

  private constructor(options: MailServerOptions) {
    this.#server = this.#make(options)
  }

  /** Starts a server; it ends with the test. */
  static async start(
    t: Pick<Test, 'teardown'>,
    options: MailServerOptions = {}
  ): Promise<MailServer> {
    const server = new MailServer(options)
    const listening = server.#server.listen(options.port ?? 0, '127.0.0.1')
    await once(listening, 'listening')
    server.#port = (listening.address() as AddressInfo).port
    t.teardown(() => server.stop())
    return server
  }

  get port(): number {
    return this.#port
  }

  get url(): string {
    return `smtp://127.0.0.1:${this.#port}`
  }

  /** The received mails, parsed. */
  parsed(): Promise<ParsedMail[]> {
    return Promise.all(this.received.map(({ raw }) => simpleParser(raw)))
  }

  /** To whom mails were taken, in order of the addresses. */
  recipients(): string[] {
    return this.received.flatMap(({ to }) => to).toSorted()
  }

  async stop(): Promise<void> {
    for (const { _socket } of this.#connections()) _socket.destroy()
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
  }

  #connections(): { id: string; _socket: Socket }[] {
    return [...this.#server.connections] as { id: string; _socket: Socket }[]
  }

  #make({ secure = false, certificate, login, offersTls = true }: MailServerOptions): SMTPServer {
    const server = new SMTPServer({
      secure,
      ...(certificate ?? makeCertificate(['127.0.0.1'])),
      hideSTARTTLS: !offersTls,
      authOptional: login === undefined,
      allowInsecureAuth: true,
      disableReverseLookup: true,
      onConnect: (_session, done) => {
        this.mostConnections = Math.max(this.mostConnections, server.connections.size)
        done()
      },
      onAuth: ({ username, password }, _session, done) => {
        this.logins += 1
        if (username === login?.user && password === login?.password)
          return done(null, { user: username })
        return done(toError('535 5.7.8 authentication failed'))
      },
      onRcptTo: ({ address }, _session, done) => {
        void this.#judge(address, done)
      },
      onData: (stream, session, done) => {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.once('end', () => void this.#take(Buffer.concat(chunks).toString(), session, done))
      }
    })
    server.on('error', () => {}) // connections that a test breaks
    return server
  }

  async #judge(address: string, done: (error?: Error | null) => void): Promise<void> {
    const reply = await this.onRecipient(address)
    done(reply === null ? null : toError(reply))
  }

  async #take(
    raw: string,
    session: SMTPServerSession,
    done: (error?: Error | null, reply?: string) => void
  ): Promise<void> {
    const { mailFrom, rcptTo } = session.envelope
    const mail: ReceivedMail = {
      from: mailFrom ? mailFrom.address : '',
      to: rcptTo.map(({ address }) => address),
      raw,
      secure: session.secure,
      user: session.user
    }
    const reply = await this.onMail(mail)
    if (reply === null || reply === DROP) this.received.push(mail)
    if (reply === DROP)
      this.#connections()
        .find(({ id }) => id === session.id)
        ?._socket.destroy()
    else done(reply === null ? null : toError(reply), '2.0.0 taken')
  }
}

/** Something to wait for. */
export function makeLatch(): { opened: Promise<unknown>; open: () => void } {
  const latch = new AbortController()
  return {
    opened: once(latch.signal, 'abort'),
    open: () => latch.abort()
  }
}

function toError(reply: string): Error {
  const [, code, text] = /^(\d{3}) (.*)$/.exec(reply) ?? []
  return Object.assign(new Error(text), { responseCode: Number(code) })
}
