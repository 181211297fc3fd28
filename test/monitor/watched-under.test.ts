import { describe, expect, it } from 'vitest'
import { watchedUnder } from '../../lib/monitor/watched-under.js'
import { fakeDirections } from '../directions/fake-directions.js'

const plan = (contextsSha256: string | null) => ({
  measuredUnder: {
    conditions: fakeDirections().conditions,
    ...{ directionsSha256: 'd', tokenIdsSha256: 't', device: 'cpu' },
  } as Parameters<typeof watchedUnder>[0]['measuredUnder'],
  primary: 0,
  contextsSha256,
})

describe('watchedUnder', () => {
  it('should tell contexts apart, and a watch in others from one in none', () => {
    const all = [null, 'one', 'other'].map((contexts) => watchedUnder(plan(contexts), {}))
    expect(new Set(all).size).toBe(3)
    expect(watchedUnder(plan('one'), {})).toBe(all[1])
  })
})
