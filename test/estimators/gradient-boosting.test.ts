import { describe, expect, it } from 'vitest'
import { GradientBoosting } from '../../lib/estimators/gradient-boosting.js'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { golden, relativeError, uniform } from './golden.js'
import { fresh, options, type TreeCase, training } from './tree-cases.js'

const cases = golden<TreeCase[]>('boosting')
const [small] = cases.filter(({ name }) => name === 'few rows')

describe('GradientBoosting', () => {
  it.each(cases)('should predict what scikit-learn does: $name, $rows x $cols', (expected) => {
    const boosting = new GradientBoosting(options(expected)).fit(training(expected), expected.y)
    expect(relativeError(boosting.predict(fresh(expected)), expected.predictions)).toBeLessThan(1e-12)
  })

  it('should start at the mean and stay there when nothing can be split', () => {
    const x = matrixFromRows(Array.from({ length: 4 }, () => [1, 2]))
    expect([...new GradientBoosting().fit(x, [0, 0, 1, 0]).predict(x)]).toEqual([0.25, 0.25, 0.25, 0.25])
  })

  it('should survive JSON with the same answers', () => {
    const x = training(small!)
    const boosting = new GradientBoosting({ nTrees: 9, rate: 0.5, minLeaf: 2 }).fit(x, small!.y)
    const restored = GradientBoosting.fromJSON(JSON.parse(JSON.stringify(boosting)))
    expect(restored.parameters).toEqual({ nTrees: 9, maxDepth: 3, minLeaf: 2, rate: 0.5, seed: 42 })
    expect(restored.predict(x)).toEqual(boosting.predict(x))
  })

  it('should forget the previous fit, also when the next one fails', () => {
    const boosting = new GradientBoosting().fit(training(small!), small!.y)
    const once = boosting.toJSON()
    expect(boosting.fit(training(small!), small!.y).toJSON()).toEqual(once)
    expect(() => boosting.fit(matrixFromRows([[Number.NaN]]), [0])).toThrowError(
      expect.objectContaining({ code: 'SHAPE' }),
    )
    expect(() => boosting.predict(training(small!))).toThrowError(
      expect.objectContaining({ code: 'NOT_FITTED' }),
    )
  })

  it.each<[string, string, () => unknown]>([
    ['predict before fit', 'NOT_FITTED', () => new GradientBoosting().predict(uniform(1, 2, 2, 1))],
    ['a rate of zero', 'USAGE', () => new GradientBoosting({ rate: 0 })],
    ['no depth', 'USAGE', () => new GradientBoosting({ maxDepth: 0 })],
    ['a target that is NaN', 'SHAPE', () => new GradientBoosting().fit(uniform(1, 2, 3, 1), [1, Number.NaN])],
    [
      'state of another estimator',
      'FILE_INVALID',
      () => GradientBoosting.fromJSON({ estimator: 'random-forest' }),
    ],
    [
      'a start that is missing',
      'FILE_INVALID',
      () => GradientBoosting.fromJSON({ estimator: 'gradient-boosting', fitted: { cols: 1 } }),
    ],
  ])('should refuse %s with %s', (_, code, act) => {
    expect(act).toThrowError(expect.objectContaining({ code }))
  })
})
