import { describe, expect, it } from 'vitest'
import { AlarmLatch } from '../../lib/monitor/alarm-latch.js'

describe('AlarmLatch', () => {
  const told = (rates: (number | null)[]) => {
    const latch = new AlarmLatch()
    return rates.map((em) =>
      latch.next({
        verdict: em === null ? 'not-comparable' : em > 0.06 ? 'alarm' : 'ok',
        em,
        threshold: 0.06,
      }),
    )
  }

  it('should raise at once and clear only after two clearly lower predictions in a row', () => {
    expect(told([0.01, 0.07, 0.08, 0.04, 0.07, 0.05, 0.04, 0.04, 0.01])).toEqual([
      ...['quiet', 'raised', 'standing', 'standing', 'standing', 'standing', 'standing', 'cleared', 'quiet'],
    ])
  })

  it('should be moved by nothing that is not comparable', () => {
    expect(told([0.2, 0.01, null, 0.01, 0.2])).toEqual([
      'raised',
      'standing',
      'standing',
      'cleared',
      'raised',
    ])
  })

  it('should go by the margin where benign runs decide by it', () => {
    const latch = new AlarmLatch()
    const at = (change: number) => {
      const margin = { change, standardError: null, interval: null, pairs: 2, questions: 1, threshold: 0.4 }
      const verdict = change > 0.4 ? 'alarm' : 'ok'
      return latch.next({ verdict, em: null, threshold: 0.06, margin })
    }
    expect([0.1, 0.5, 0.2, 0.35, 0.2, 0.1, 0.1].map(at)).toEqual([
      ...['quiet', 'raised', 'standing', 'standing', 'standing', 'cleared', 'quiet'],
    ])
  })

  it('should be cleared by a part of the prompts only where that settled rates clearly lower', () => {
    const twiceAt = (threshold: number) => {
      const latch = new AlarmLatch(true)
      const settled = { side: 'below', threshold, error: 0.01, prompts: 9, of: 99, by: '' } as const
      return [1, 2].map(() => latch.next({ verdict: 'ok', em: 0.01, threshold: 0.06, settled }))
    }
    expect(twiceAt(0.06)).toEqual(['standing', 'standing'])
    expect(twiceAt(0.045)).toEqual(['standing', 'cleared'])
  })
})
