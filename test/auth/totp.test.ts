import t from 'tap'
import { codeAt, matchingStep, stepAt } from '../../src/auth/totp.js'

const secret = Buffer.from('12345678901234567890')

t.test('codes are those of RFC 6238, appendix B', async (t) => {
  const codes = [
    [59, '287082'],
    [1_111_111_109, '081804'],
    [1_111_111_111, '050471'],
    [1_234_567_890, '005924'],
    [2_000_000_000, '279037'],
    [20_000_000_000, '353130']
  ] as const
  for (const [seconds, code] of codes) t.equal(codeAt(secret, stepAt(seconds * 1000)), code)
})

t.test('S15: a code counts in its step and in the next one, and not before', async (t) => {
  const step = stepAt(1_234_567_890_000)
  const code = codeAt(secret, step)
  const at = (steps: number, ms = 0) => matchingStep(secret, code, (step + steps) * 30_000 + ms)
  t.equal(at(-1, 29_999), null)
  t.equal(at(0), step)
  t.equal(at(1, 29_999), step)
  t.equal(at(2), null)
})

t.test('what is no code matches nothing', async (t) => {
  for (const code of ['', '00000', '0059240', ' 005924', '005924\n', '００５９２４', '00592\u0000'])
    t.equal(matchingStep(secret, code, 1_234_567_890_000), null, code)
})
