import { describe, expect, it } from 'vitest'
import { batchDifferences } from '../../lib/bench/batch-differences.js'
import type { Generation } from '../../lib/model/generation.js'
import { openModel } from '../../lib/model/model.js'
import { TINY_BASE } from '../helpers/tiny.js'

const generation = (tokens: number[], logprobs: number[], margins: number[]): Generation => ({
  prompt: 0,
  draw: 0,
  tokens: Int32Array.from(tokens),
  text: '',
  finish: 'length',
  logprobs: logprobs.map((chosen) => ({ chosen, top: [], of: new Float64Array() })),
  margins: Float64Array.from(margins),
})

describe('batchDifferences()', () => {
  it('should find the first token that differs, how near it was, and the error up to there', () => {
    const one = generation([1, 2, 3, 4], [-0.5, -0.4, -0.3, -0.2], [0.1, 0.2, 3e-6, 0.4])
    const other = generation([1, 2, 9, 8], [-0.5, -0.401, -0.9, -0.9], [0.1, 0.2, 5e-6, 0.4])
    const found = batchDifferences([[one], [one]], [[other], [one]])
    expect(found).toMatchObject({ sequences: 2, differing: [{ token: 2, margin: 3e-6 }] })
    expect(found.error).toBeCloseTo(0.001, 12)
  })

  it('should take a text that ends earlier for another one', () => {
    const long = generation([1, 2], [-0.5, -0.5], [0.1, 0.02])
    const short = generation([1], [-0.5], [0.1])
    expect(batchDifferences([[long]], [[short]]).differing).toMatchObject([{ token: 1, margin: 0.02 }])
  })
})

// docs/accuracy.md states this error of a logit.
const ERROR = 2e-4

describe('generation on float32 weights', () => {
  it.each([
    ['greedy', {}, 1],
    ['sampled', { temperature: 1 }, 8],
    ['truncated', { temperature: 0.8, topK: 40, topP: 0.9, minP: 0.02 }, 8],
  ])(
    'should differ between batch sizes only where a choice was as near as rounding, %s',
    async (_, sampling, draws) => {
      await using model = await openModel(TINY_BASE)
      const prompts = Array.from({ length: 30 }, (_, p) => Int32Array.of(1019, 3 + 7 * p, 5 + 11 * p, 9))
      const generate = async (sequences: number) => {
        const options = { ...sampling, draws, maxTokens: 20, margins: true, logprobs: {}, sequences }
        return (await model.generate(prompts, options)).generations
      }
      const alone = await generate(1)
      for (const sequences of [3, 64]) {
        const { differing, error } = batchDifferences(alone, await generate(sequences))
        expect(error).toBeLessThan(ERROR)
        expect(differing.filter(({ margin }) => margin >= 2 * ERROR)).toEqual([])
        expect(differing.length).toBeLessThan(0.05 * 30 * draws)
      }
    },
  )
})
