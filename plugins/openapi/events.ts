import { accountEventKinds } from '../../src/account/account-event.js'
import type { Media, Schema } from './document.js'

/*
 * The answers of the event look-up for administrators. The endpoints have better-auth's form, but
 * their content is ours.
 */

const ADA = '01931c1e-5b7a-7c3e-8a52-3f1b6d9e4c70'
const ADMINISTRATOR = '01931b00-6d2e-7f10-9b0a-5a4c3b2d1e0f'
const SESSION = '01931c0f-1c2d-7a4b-9c3d-2f1e0d9c8b7a'

const text: Schema = { type: 'string' }
const time: Schema = { type: 'string', format: 'date-time' }
const number: Schema = { type: 'integer' }
const orNull = (schema: Schema, description?: string): Schema => ({
  ...schema,
  type: [String(schema.type), 'null'],
  ...(description === undefined ? {} : { description })
})
const next = orNull(text, 'For `after`: where the list goes on; null at its end.')

function toList(name: string, properties: Record<string, Schema>): Schema {
  const items = { type: 'object', properties, required: Object.keys(properties) }
  return {
    type: 'object',
    properties: { [name]: { type: 'array', items }, next },
    required: [name, 'next']
  }
}

const accountEvents: Media = {
  schema: toList('events', {
    id: text,
    at: time,
    userId: orNull(text, 'Whose account it is.'),
    kind: { ...text, description: `One of ${accountEventKinds.join(', ')}.` },
    cause: orNull(text),
    actor: {
      type: 'string',
      enum: ['person', 'administrator', 'operator', 'system', 'unknown'],
      description: 'Who did it; `unknown` is whoever failed to sign in.'
    },
    actorId: orNull(text, 'The user id of the administrator.'),
    sessionId: orNull(text),
    ipAddress: orNull(text),
    userAgent: orNull(text),
    detail: { type: ['object', 'null'] },
    nameHash: orNull(
      text,
      'A keyed hash of the name that was tried, or of the address before a change.'
    ),
    count: {
      ...number,
      description: 'Failed attempts that are alike are one event, for a quarter of an hour.'
    },
    lastAt: orNull(time, 'When the last of them was.')
  }),
  example: {
    events: [
      {
        id: '01931c1e-5b7a-7c3e-8a52-3f1b6d9e4c72',
        at: '2026-11-27T10:21:00.004Z',
        userId: ADA,
        kind: 'role_changed',
        cause: null,
        actor: 'administrator',
        actorId: ADMINISTRATOR,
        sessionId: SESSION,
        ipAddress: '198.51.100.4',
        userAgent: 'Mozilla/5.0',
        detail: { from: ['user'], to: ['user', 'editor'] },
        nameHash: null,
        count: 1,
        lastAt: null
      },
      {
        id: '01931c1e-5b7a-7c3e-8a52-3f1b6d9e4c71',
        at: '2026-11-27T10:04:12.031Z',
        userId: ADA,
        kind: 'sign_in_failed',
        cause: 'wrong_password',
        actor: 'unknown',
        actorId: null,
        sessionId: null,
        ipAddress: '203.0.113.7',
        userAgent: 'curl/8.9.1',
        detail: null,
        nameHash: 'q4l8m2v7c0x5n1b6k3j9hg',
        count: 14,
        lastAt: '2026-11-27T10:11:40.500Z'
      }
    ],
    next: null
  }
}

/** Answers by the path below better-auth's base path. */
export const eventAnswers: Record<string, Media> = {
  '/admin/list-user-events': accountEvents,
  '/admin/list-events': accountEvents,
  '/admin/list-session-events': {
    schema: toList('events', {
      id: text,
      type: text,
      cause: orNull(text),
      at: time,
      ipAddress: orNull(text)
    }),
    example: {
      events: [
        {
          id: '01931c0f-1c2d-7a4b-9c3d-2f1e0d9c8b7b',
          type: 'created',
          cause: 'pwd',
          at: '2026-11-27T09:12:44.120Z',
          ipAddress: '198.51.100.4'
        },
        {
          id: '01931c2a-77d0-7b1c-8d4e-0a9b8c7d6e5f',
          type: 'revoked',
          cause: 'password_changed',
          at: '2026-11-27T09:42:10.660Z',
          ipAddress: null
        }
      ],
      next: null
    }
  },
  '/admin/list-user-session-history': {
    schema: toList('sessions', {
      id: text,
      userId: text,
      clientId: text,
      name: orNull(text),
      issuedAt: time,
      expiresAt: time,
      absoluteExpiresAt: time,
      lastSeenAt: time,
      authTime: time,
      amr: { type: 'array', items: text },
      ipAddress: orNull(text),
      userAgent: orNull(text),
      impersonatedBy: orNull(text, 'The administrator who acts as the user.'),
      state: { type: 'string', enum: ['active', 'expired', 'revoked'] },
      endedAt: orNull(time),
      endedReason: orNull(text, 'Why it was revoked.'),
      refreshCount: number,
      firstRefreshAt: orNull(time),
      firstRefreshAddress: orNull(text),
      lastRefreshAt: orNull(time),
      lastRefreshAddress: orNull(text),
      replayCount: number
    }),
    example: {
      sessions: [
        {
          id: SESSION,
          userId: ADA,
          clientId: 'holdfast',
          name: null,
          issuedAt: '2026-11-27T09:12:44.120Z',
          expiresAt: '2026-12-04T09:12:44.120Z',
          absoluteExpiresAt: '2027-02-25T09:12:44.120Z',
          lastSeenAt: '2026-11-27T09:40:02.000Z',
          authTime: '2026-11-27T09:12:44.120Z',
          amr: ['pwd'],
          ipAddress: '198.51.100.4',
          userAgent: 'Mozilla/5.0',
          impersonatedBy: null,
          state: 'revoked',
          endedAt: '2026-11-27T09:42:10.660Z',
          endedReason: 'password_changed',
          refreshCount: 0,
          firstRefreshAt: null,
          firstRefreshAddress: null,
          lastRefreshAt: null,
          lastRefreshAddress: null,
          replayCount: 0
        }
      ],
      next: null
    }
  }
}
