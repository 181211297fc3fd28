import { describe, expect, it } from 'vitest'
import { RandomForest } from '../../lib/estimators/random-forest.js'
import { RandomForestClassifier } from '../../lib/estimators/random-forest-classifier.js'
import { golden, relativeError, uniform } from './golden.js'
import { fresh, options, type TreeCase, training } from './tree-cases.js'

const cases = golden<TreeCase[]>('forest-classifier')
const [small] = cases.filter(({ name }) => name === 'constant columns')

describe('RandomForestClassifier', () => {
  it.each(cases)('should give the probabilities of scikit-learn: $name, $rows x $cols', (expected) => {
    const forest = new RandomForestClassifier(options(expected)).fit(training(expected), expected.y)
    const probabilities = forest.predictProbability(fresh(expected))
    expect(relativeError(probabilities, expected.predictions)).toBeLessThan(1e-12)
    expect([...forest.predict(fresh(expected))]).toEqual(expected.predictions.map((p) => (p > 0.5 ? 1 : 0)))
  })

  it('should survive JSON with the same answers, and forget', () => {
    const x = training(small!)
    const forest = new RandomForestClassifier({ nTrees: 5, seed: 7 }).fit(x, small!.y)
    const restored = RandomForestClassifier.fromJSON(JSON.parse(JSON.stringify(forest)))
    expect(restored.parameters).toEqual({ nTrees: 5, maxDepth: 5, minLeaf: 5, seed: 7 })
    expect(restored.predictProbability(x)).toEqual(forest.predictProbability(x))
    expect(() => forest.fit(x, new Array(x.rows).fill(1))).toThrowError(/both classes/)
    expect(() => forest.predict(x)).toThrowError(expect.objectContaining({ code: 'NOT_FITTED' }))
  })

  it('should refuse the state of a regressor', () => {
    const state = new RandomForest({ nTrees: 1 }).fit(uniform(1, 9, 2, 1), uniform(2, 9, 1, 1).data).toJSON()
    expect(() => RandomForestClassifier.fromJSON(state)).toThrowError(
      expect.objectContaining({ code: 'FILE_INVALID' }),
    )
  })
})
