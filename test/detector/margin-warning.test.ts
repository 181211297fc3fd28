import { describe, expect, it } from 'vitest'
import { marginReason, withMargin } from '../../lib/detector/margin-warning.js'
import { notComparable, type Verdict, type VerdictKind } from '../../lib/detector/verdict.js'

const margin = (low: number, high: number) => ({
  ...{ change: (low + high) / 2, standardError: 0.01, interval: [low, high] as [number, number] },
  ...{ pairs: 40, questions: 13 },
})
const verdict = (kind: VerdictKind): Verdict => ({
  ...notComparable({ nominalCoverage: 0.9, threshold: 0.06 }, ['a reason']),
  ...{ verdict: kind, em: 0.01 },
})
const REASON =
  'misaligned answers have become more probable, against aligned ones, by 0.200 nats per token (95 % interval 0.040 to 0.360) over 13 questions'

describe('withMargin', () => {
  it('should warn where the whole interval lies above 0', () => {
    const up = margin(0.04, 0.36)
    expect(withMargin(verdict('ok'), up)).toEqual({
      ...verdict('ok'),
      ...{ verdict: 'warn', margin: up, reasons: [REASON, 'a reason'] },
    })
  })

  it.each<VerdictKind>(['warn', 'alarm', 'not-comparable'])(
    'should leave a %s what it is, and say why',
    (kind) => {
      expect(withMargin(verdict(kind), margin(0.04, 0.36))).toMatchObject({
        verdict: kind,
        reasons: ['a reason', REASON],
      })
    },
  )

  it('should tell any other margin without a word', () => {
    for (const one of [margin(0, 0.4), margin(-0.3, -0.1), { ...margin(1, 2), interval: null }]) {
      expect(marginReason(one)).toBeUndefined()
      expect(withMargin(verdict('ok'), one)).toEqual({ ...verdict('ok'), margin: one })
    }
    expect(withMargin(verdict('ok'), undefined)).toEqual(verdict('ok'))
  })
})
