import * as fc from 'fast-check'
import t from 'tap'
import { parseMessage } from '../../src/cluster/lease-messages.js'

const messages = [
  { kind: 'heartbeat', sent: '1', replid: 'a', birth: '1795750394469', seq: 3 },
  { kind: 'ack', announcement: 'x', node: 'n' },
  { seq: 1, kind: 'changes', announcement: 'x', node: 'n', changes: [['id', 2]] },
  { seq: 1, kind: 'changes', announcement: 'x', node: 'n', changes: [] }
]

t.test('S9: messages of nodes are read as they were written', async (t) => {
  for (const message of messages) t.strictSame(parseMessage(JSON.stringify(message)), message)
})

t.test('S9: a text that no node has published is not a message', async (t) => {
  for (const text of [
    '',
    'null',
    '[]',
    '1',
    '"x"',
    '{}',
    '{"kind":"changes"}',
    '{"kind":"heartbeat","sent":1}',
    '{"kind":"ack"}'
  ])
    t.equal(parseMessage(text), null, text)
  for (const message of messages) {
    for (const field of Object.keys(message)) {
      for (const wrong of [undefined, null, {}, [[]], [['id']], [[1, 2]], [null]]) {
        t.equal(
          parseMessage(JSON.stringify({ ...message, [field]: wrong })),
          null,
          `${message.kind} with ${field} ${JSON.stringify(wrong)}`
        )
      }
    }
  }
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      parseMessage(JSON.stringify(value))
    })
  )
})
