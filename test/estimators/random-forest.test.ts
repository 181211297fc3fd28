import { describe, expect, it } from 'vitest'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { RandomForest } from '../../lib/estimators/random-forest.js'
import { golden, relativeError, uniform } from './golden.js'
import { fresh, options, type TreeCase, training } from './tree-cases.js'

const cases = golden<TreeCase[]>('forest')
const [small] = cases.filter(({ name }) => name === 'constant columns')

describe('RandomForest', () => {
  it.each(cases)('should predict what scikit-learn does: $name, $rows x $cols', (expected) => {
    const forest = new RandomForest(options(expected)).fit(training(expected), expected.y)
    expect(relativeError(forest.predict(fresh(expected)), expected.predictions)).toBeLessThan(1e-12)
  })

  it('should not depend on the scale of the features', () => {
    const x = training(small!)
    const doubled = { ...x, data: x.data.map((value) => value * 2) }
    const predictions = new RandomForest().fit(x, small!.y).predict(x)
    expect(new RandomForest().fit(doubled, small!.y).predict(doubled)).toEqual(predictions)
  })

  it('should predict the mean where no split is possible', () => {
    const x = matrixFromRows(Array.from({ length: 20 }, () => [1, 2]))
    const forest = new RandomForest({ nTrees: 1 }).fit(
      x,
      Array.from(x.data.subarray(0, 20), () => 0.125),
    )
    expect([...forest.predict(matrixFromRows([[1, 2]]))]).toEqual([0.125])
  })

  it('should survive JSON with the same answers', () => {
    const x = training(small!)
    const forest = new RandomForest({ nTrees: 5, minLeaf: 1, seed: 7 }).fit(x, small!.y)
    const restored = RandomForest.fromJSON(JSON.parse(JSON.stringify(forest)))
    expect(restored.parameters).toEqual({ nTrees: 5, maxDepth: 5, minLeaf: 1, seed: 7 })
    expect(restored.predict(x)).toEqual(forest.predict(x))
  })

  it('should forget the previous fit, also when the next one fails', () => {
    const forest = new RandomForest().fit(training(small!), small!.y)
    const once = forest.toJSON()
    expect(forest.fit(training(small!), small!.y).toJSON()).toEqual(once)
    expect(() => forest.fit(matrixFromRows([[Number.NaN]]), [0])).toThrowError(
      expect.objectContaining({ code: 'SHAPE' }),
    )
    expect(() => forest.predict(training(small!))).toThrowError(
      expect.objectContaining({ code: 'NOT_FITTED' }),
    )
  })

  const state = new RandomForest({ nTrees: 2 }).fit(uniform(1, 40, 2, 1), uniform(2, 40, 1, 1).data).toJSON()
  const broken = (change: object) =>
    RandomForest.fromJSON({ ...state, fitted: { ...state.fitted, ...change } })
  it.each<[string, string, () => unknown]>([
    ['predict before fit', 'NOT_FITTED', () => new RandomForest().predict(uniform(1, 2, 2, 1))],
    ['zero trees', 'USAGE', () => new RandomForest({ nTrees: 0 })],
    ['half a leaf', 'USAGE', () => new RandomForest({ minLeaf: 0.5 })],
    ['a negative seed', 'USAGE', () => new RandomForest({ seed: -1 })],
    ['too few targets', 'SHAPE', () => new RandomForest().fit(uniform(1, 4, 3, 1), [1, 2, 3])],
    ['a target that is NaN', 'SHAPE', () => new RandomForest().fit(uniform(1, 2, 3, 1), [1, Number.NaN])],
    [
      'other width',
      'SHAPE',
      () => new RandomForest().fit(uniform(1, 4, 3, 1), [1, 2, 3, 4]).predict(uniform(1, 4, 2, 1)),
    ],
    ['what float32 cannot hold', 'SHAPE', () => new RandomForest().fit(matrixFromRows([[1e39]]), [1])],
    ['state of another estimator', 'FILE_INVALID', () => RandomForest.fromJSON({ estimator: 'pca' })],
    [
      'a child that does not exist',
      'FILE_INVALID',
      () => broken({ right: state.fitted!.right.map(() => 1e6) }),
    ],
    [
      'a child that is its parent',
      'FILE_INVALID',
      () => broken({ right: state.fitted!.right.map((_, i) => i) }),
    ],
    [
      'a column that does not exist',
      'FILE_INVALID',
      () => broken({ feature: state.fitted!.feature.map((f) => f + 2) }),
    ],
    ['no trees', 'FILE_INVALID', () => broken({ roots: [] })],
  ])('should refuse %s with %s', (_, code, act) => {
    expect(act).toThrowError(expect.objectContaining({ code }))
  })
})
