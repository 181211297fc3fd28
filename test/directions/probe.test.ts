import { describe, expect, it } from 'vitest'
import { pairwiseCosines } from '../../lib/directions/cosines.js'
import { probeAccuracy } from '../../lib/directions/probe.js'
import { stratifiedKFold } from '../../lib/estimators/k-fold.js'
import { gram } from '../../lib/estimators/linalg.js'
import { LogisticRegression } from '../../lib/estimators/logistic-regression.js'
import { selectRows } from '../../lib/estimators/matrix.js'
import { uniform } from '../estimators/golden.js'

describe('probeAccuracy', () => {
  it('should equal fitting every fold with LogisticRegression', async () => {
    for (const cols of [6, 90]) {
      const x = uniform(cols, 60, cols, 3)
      for (let i = 0; i < 28; i++) x.data[i * cols]! += 1
      const labels = Array.from({ length: 60 }, (_, i) => (i < 28 ? 1 : 0))
      const accuracies = stratifiedKFold(labels, 5, 42).map(({ train, test }) => {
        const regression = new LogisticRegression().fit(
          selectRows(x, train),
          Array.from(train, (i) => labels[i]!),
        )
        const predicted = regression.predict(selectRows(x, test))
        return predicted.filter((label, i) => label === labels[test[i]!]).length / test.length
      })
      const expected = accuracies.reduce((sum, value) => sum + value, 0) / 5
      expect(await probeAccuracy(gram(x), 28)).toBeCloseTo(expected, 12)
      expect(expected).toBeGreaterThan(0.4)
      expect(expected).toBeLessThan(1)
    }
  })

  it('should reach 1 on separable poles and stay near chance on noise', async () => {
    const x = uniform(1, 80, 12, 1)
    expect(await probeAccuracy(gram(x), 40)).toBeLessThan(0.75)
    for (let i = 0; i < 40; i++) x.data[i * 12]! += 5
    expect(await probeAccuracy(gram(x), 40)).toBe(1)
  })

  it('should have no answer for poles smaller than the folds', async () => {
    expect(await probeAccuracy(gram(uniform(1, 13, 3, 1)), 4)).toBe(undefined)
  })
})

describe('pairwiseCosines', () => {
  it('should key pairs in trait order and average them', () => {
    const { pairs, average } = pairwiseCosines(
      ['b', 'a', '__proto__'],
      [
        [1, 0],
        [0, 2],
        [-3, 0],
      ],
    )
    expect(Object.entries(pairs)).toEqual([
      ['b_vs_a', 0],
      ['b_vs___proto__', -1],
      ['a_vs___proto__', 0],
    ])
    expect(average).toBeCloseTo(-1 / 3, 15)
    expect(pairwiseCosines(['one'], [[1]]).average).toBe(null)
  })
})
