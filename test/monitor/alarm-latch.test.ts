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
})
