import { describe, expect, it } from 'vitest'
import { newRegressor, REGRESSOR_NAMES, regressorFromJSON } from '../../lib/estimators/regressor.js'
import { uniform } from './golden.js'

describe('newRegressor', () => {
  it.each(REGRESSOR_NAMES)('should fit a %s and restore it from plain JSON', (name) => {
    const x = uniform(1, 40, 3, 1)
    const regressor = newRegressor(name).fit(x, x.data.subarray(0, 40))
    const restored = regressorFromJSON(JSON.parse(JSON.stringify(regressor)))
    expect(restored.predict(x)).toEqual(regressor.predict(x))
  })
})

describe('regressorFromJSON', () => {
  it.each([[null], [{}], [{ estimator: 'pca' }], ['ridge']])('should refuse %j', (json) => {
    expect(() => regressorFromJSON(json)).toThrowError(expect.objectContaining({ code: 'FILE_INVALID' }))
  })
})
