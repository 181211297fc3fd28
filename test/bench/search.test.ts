import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bestTrial } from '../../lib/bench/search.js'
import { VARIANTS } from '../../lib/bench/variants.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { TINY_BASE } from '../helpers/tiny.js'

let model: Model
beforeAll(async () => {
  model = await openModel(TINY_BASE)
})
afterAll(() => model?.close())

/** One of them is longer than the smallest batch that is tried. */
const prompts = [20, 300, 40].map((length) => Int32Array.from({ length }, (_, i) => 5 + (i % 50)))

describe('bestTrial', () => {
  it.each(VARIANTS)('should find sizes that every prompt fits: $name', async (variant) => {
    const trial = await bestTrial(model, variant, prompts, { layer: 2, seconds: 0.1, threads: [1] })
    expect(trial.rows.size).toBeGreaterThan(0)
    if (variant.inGroups) expect(trial.batchTokens).toBe(model.batchTokens)
    else expect(trial.batchTokens).toBeGreaterThan(300)
  })

  it('should still offer the model its own size where none is possible', async () => {
    const options = { layer: 2, seconds: 0.1, threads: [1], batchTokens: [64] }
    const trial = await bestTrial(model, VARIANTS[1]!, prompts, options)
    expect(trial.batchTokens).toBe(model.batchTokens)
  })

  it('should stop when it is told to', async () => {
    const signal = AbortSignal.abort()
    const search = bestTrial(model, VARIANTS[5]!, prompts, { layer: 2, seconds: 1, signal })
    await expect(search).rejects.toMatchObject({ code: 'ABORTED' })
  })
})
