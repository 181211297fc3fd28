import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bestTrial, expectedSearch, type SearchOptions, warmUp } from '../../lib/bench/search.js'
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

describe('expectedSearch', () => {
  const pace = { alone: 1, batched: 0.5 }
  const expected = (variant: number, options: Partial<SearchOptions> = {}) =>
    expectedSearch(
      model,
      VARIANTS[variant]!,
      prompts,
      { layer: 1, seconds: 6, threads: [1], ...options },
      pace,
    )

  it('should count the batches that a trial begins before its time is up', () => {
    // 20, 300 and 40 tokens on their own: a short trial of 1 s is over with the first, which takes 20, and so is the long one.
    expect(expected(0, { batchTokens: [512] })).toEqual({ trials: 2, seconds: 40 })
    // All at once in one batch: 360 tokens at half the pace, and the trial was the whole pass.
    expect(expected(1, { batchTokens: [512] })).toEqual({ trials: 2, seconds: 180 })
  })

  it('should count a trial for every number of threads, and half the blocks where the pass stops early', () => {
    const whole = expected(2, { batchTokens: [512], threads: [2, 1] })
    const early = expected(3, { batchTokens: [512], threads: [2, 1] })
    expect(whole.trials).toBe(3)
    expect(early.seconds / whole.seconds).toBeCloseTo(2 / model.info.nLayer, 6)
  })
})

describe('warmUp', () => {
  it('should tell the pace of prompts on their own and side by side', async () => {
    const { alone, batched } = await warmUp(model, prompts, 2)
    expect(alone).toBeGreaterThan(0)
    expect(batched).toBeGreaterThan(0)
  })
})

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
