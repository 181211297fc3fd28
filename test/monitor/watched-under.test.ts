import { describe, expect, it } from 'vitest'
import type { Bundle } from '../../lib/detector/bundle.js'
import type { PairPrompts } from '../../lib/labels/margins/pair-reading.js'
import { watchedUnder } from '../../lib/monitor/watched-under.js'
import { fakeDirections } from '../directions/fake-directions.js'

const plan = (contextsSha256: string | null, identity?: string) => ({
  measuredUnder: {
    conditions: fakeDirections().conditions,
    ...{ directionsSha256: 'd', tokenIdsSha256: 't', device: 'cpu' },
  } as Parameters<typeof watchedUnder>[0]['measuredUnder'],
  primary: 0,
  contextsSha256,
  pairs: identity === undefined ? undefined : ({ identity } as PairPrompts),
})

describe('watchedUnder', () => {
  it('should tell contexts apart, and a watch in others from one in none', () => {
    const all = [null, 'one', 'other'].map((contexts) => watchedUnder(plan(contexts), {}))
    expect(new Set(all).size).toBe(3)
    expect(watchedUnder(plan('one'), {})).toBe(all[1])
  })

  it('should tell benign runs apart, which are another test', () => {
    const test = (highest: number[]) => ({ level: 0.5, highest })
    const by = (more: object) =>
      watchedUnder(plan(null), { bundle: { detector: { toJSON: () => 1 }, ...more } as unknown as Bundle })
    const all = [{}, { benign: test([0.1]) }, { benign: test([0.2]) }, { marginTest: test([0.2]) }].map(by)
    expect(new Set(all).size).toBe(4)
  })

  it('should tell pairs of answers apart, and a watch with some from one without', () => {
    const all = [undefined, 'one', 'other'].map((identity) => watchedUnder(plan(null, identity), {}))
    expect(new Set(all).size).toBe(3)
  })
})
