import { describe, expect, it } from 'vitest'
import { evenly, fitting, tokensOf } from '../../lib/first-look/budget.js'
import { layersToLookAt } from '../../lib/first-look/first-look.js'

describe('fitting', () => {
  const cost = (n: number) => 10 + 5 * n

  it.each([
    [1000, 30],
    [160, 30],
    [159, 29],
    [36, 5],
    [30, 4],
    [29, undefined],
  ])('should fit into %d what it can: %s of 30', (budget, expected) => {
    expect(fitting(cost, budget, 30)).toBe(expected)
  })

  it('should ask for all where there are fewer than the fewest', () => {
    expect([fitting(cost, 25, 3), fitting(cost, 24, 3)]).toEqual([3, undefined])
  })
})

describe('evenly', () => {
  it('should spread over all of them, and give all in order', () => {
    expect(evenly([...'abcdefghij'], 4).join('')).toBe('acfh')
    expect(evenly([1, 2, 3], 3)).toEqual([1, 2, 3])
  })
})

describe('tokensOf', () => {
  it('should count what questions share once, and only the questions that are kept', () => {
    const model = { batchTokens: 512, limits: undefined }
    // Two system prompts of two tokens, three questions of one each, question-major.
    const pole = [0, 1, 2].flatMap((q) => [0, 1].map((s) => Int32Array.from([s, s, 10 + q])))
    const texts = { questions: 3, poles: [pole, pole] }
    const tokens = [1, 2, 3].map((n) => tokensOf(model as never, texts, n))
    expect(tokens).toEqual([12, 16, 20])
  })
})

describe('layersToLookAt', () => {
  it.each([
    [30, [15, 18, 22]],
    [24, [12, 15, 18]],
    [2, [1]],
    [1, [0]],
  ])('of %d blocks should be %j', (nLayer, layers) => {
    expect(layersToLookAt(nLayer)).toEqual(layers)
  })
})
