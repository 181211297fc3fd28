import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runTrial, spread } from '../../lib/bench/trial.js'
import { VARIANTS } from '../../lib/bench/variants.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { relativeL2, TINY_BASE } from '../helpers/tiny.js'

// Enough tokens behind a shared beginning for every idea to have something to save.
const prompts = Array.from({ length: 12 }, (_, p) =>
  Int32Array.from({ length: 30 + p }, (_, i) => (i < 20 ? 5 + i : (40 + p * 37 + i * 11) % 1000)),
)
const total = prompts.reduce((sum, { length }) => sum + length, 0)
const shared = 20 * (prompts.length - 1)

let model: Model
beforeAll(async () => {
  model = await openModel(TINY_BASE)
})
afterAll(() => model?.close())

const settings = { layer: 1, threads: 1, batchTokens: 2048, seconds: 600 }

describe('VARIANTS', () => {
  it('should read the same states, each computing no more than the one before', async () => {
    const trials = []
    for (const variant of VARIANTS) trials.push(await runTrial(model, variant, prompts, settings))
    const [alone] = trials
    for (const trial of trials) {
      expect([...trial.rows.keys()].sort((a, b) => a - b)).toEqual([...prompts.keys()])
      for (const [prompt, row] of trial.rows) {
        expect(relativeL2(row, alone!.rows.get(prompt)!)).toBeLessThan(1e-5)
      }
    }
    expect(trials.map(({ batches }) => batches)).toEqual([prompts.length, 1, 1, 1, 1, 1])
    expect(trials.map(({ computedTokens }) => computedTokens)).toEqual([
      total,
      total,
      total - shared,
      total - shared,
      total - shared,
      total - shared,
    ])
    // All but the last token of each prompt.
    expect(trials.map(({ contextTokens }) => contextTokens)).toEqual([
      0,
      0,
      0,
      0,
      0,
      total - shared - prompts.length,
    ])
  })

  it('should respect the limit on tokens, which only a prompt of its own may pass', () => {
    const sizes = VARIANTS[1]!.plan(prompts, 64).map(({ tokens }) => tokens.length)
    expect(sizes.every((size) => size <= 64)).toBe(true)
    expect(VARIANTS[1]!.plan(prompts, 10).length).toBe(prompts.length)
  })
})

describe('runTrial', () => {
  it('should run a part of the plan when the time is up, and extrapolate', async () => {
    const trial = await runTrial(model, VARIANTS[0]!, prompts, { ...settings, seconds: 0 })
    expect(trial.rows.size).toBe(1)
    const [first] = [...trial.rows.keys()]
    expect(trial.share).toBe(prompts[first!]!.length / total)
    expect(trial.computedTokens).toBe(total)
    expect(trial.overheadSeconds).toBeLessThan(trial.seconds)
  })
})

describe('spread', () => {
  it.each([1, 2, 3, 10, 115])('should visit each of %i once', (n) => {
    expect(spread(n).sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i))
  })

  it('should reach both halves early', () => {
    const [a, b, c] = spread(100)
    expect([a, b, c].some((i) => i! < 50) && [a, b, c].some((i) => i! >= 50)).toBe(true)
  })
})
