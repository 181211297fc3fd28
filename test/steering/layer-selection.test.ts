import { describe, expect, it } from 'vitest'
import { bestOf, candidateLayers } from '../../lib/steering/layer-selection.js'

describe('candidateLayers()', () => {
  it.each([
    [4, [0, 1, 2, 3]],
    [8, [0, 1, 2, 3, 4, 5, 6, 7]],
    [9, [4, 5, 6, 7]],
    [18, [7, 8, 9, 11, 12, 13, 14]],
    [30, [12, 14, 16, 18, 20, 22, 24]],
    [32, [13, 15, 17, 20, 22, 24, 26]],
  ])('should spread over the middle of %s blocks', (nLayer, layers) => {
    expect(candidateLayers(nLayer)).toEqual(layers)
  })
})

describe('bestOf()', () => {
  it('should take the highest score, and of equal ones what each rule says', () => {
    const candidates = [10, 12, 14, 20]
    expect(bestOf([0.1, 0.2, 0.4, 0.3], candidates, 'divergence')).toBe(2)
    expect(bestOf([0.4, 0.2, 0.4, 0.4], candidates, 'divergence')).toBe(0)
    // The middle is 15: 14 is nearer than 10 and 20, which are equally far.
    expect(bestOf([0.4, 0.2, 0.4, 0.4], candidates, 'semantic')).toBe(2)
    expect(bestOf([0.4, 0.2, 0.1, 0.4], candidates, 'semantic')).toBe(0)
  })
})
