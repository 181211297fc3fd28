import { describe, expect, it } from 'vitest'
import { NoveltyGuard } from '../../lib/detector/novelty.js'
import { row } from '../../lib/estimators/matrix.js'
import { uniform } from '../estimators/golden.js'
import { golden } from './golden.js'

describe('NoveltyGuard', () => {
  it('should tell the distance to the nearest row and the share that lies as far (oracle: NumPy)', () => {
    const { groups, probes, expected } = golden.novelty
    const x = uniform(31, 24, 5, [1, 40, 1, 1, 1])
    const guard = NoveltyGuard.fit(
      Array.from({ length: 24 }, (_, i) => [...row(x, i)]),
      groups,
    )
    for (const [i, probe] of probes.entries()) {
      const found = guard.novelty(probe)
      expect(found.distance).toBeCloseTo(expected[i]!.distance, 10)
      expect(found.pValue).toBeCloseTo(expected[i]!.pValue, 14)
    }
    // The first probe lies beside a row and the last one where nothing is: both ends are covered.
    expect(expected[0]!.pValue).toBe(1)
    expect(expected.at(-1)!.pValue).toBe(1 / 25)
  })

  it('should count a row that lies exactly as far, and compare rows with other sets alone', () => {
    // Two sets on a line; scaled by the spread, which is 2 here: 0, 1 | 4, 5 has mean 2.5 and variance 4.25.
    const sd = Math.sqrt(4.25)
    const guard = NoveltyGuard.fit([[0], [1], [4], [5]], ['a', 'a', 'b', 'b'])
    // To the other set: 4, 3, 3, 4. At 8 the nearest row is 3 away, as two rows are, and two are further.
    expect(guard.novelty([8])).toEqual({ distance: expect.closeTo(3 / sd, 12), pValue: 1 })
    expect(guard.novelty([9]).pValue).toBeCloseTo(3 / 5, 14)
    expect(guard.novelty([9.5]).pValue).toBeCloseTo(1 / 5, 14)
    expect(guard.novelty([4]).distance).toBe(0)
  })
})
