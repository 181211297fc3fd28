import { describe, expect, it } from 'vitest'
import { mainType, neededOperations, roof } from '../../lib/bench/roofline.js'
import type { Trial } from '../../lib/bench/trial.js'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import { openModel } from '../../lib/model/model.js'
import { TINY_BASE } from '../helpers/tiny.js'

describe('neededOperations', () => {
  it('should count two operations per weight and token, and less for context tokens', async () => {
    const gguf = await readGguf(TINY_BASE)
    const weights = (pattern: RegExp) =>
      [...gguf.tensors.values()]
        .filter(({ name, shape }) => pattern.test(name) && shape.length === 2)
        .reduce((sum, { shape }) => sum + shape[0]! * shape[1]!, 0)
    const trial = (computedTokens: number, contextTokens: number) =>
      ({ computedTokens, contextTokens }) as Trial
    const upTo2 = weights(/^blk\.[012]\./)
    expect(neededOperations(gguf, 2, trial(10, 0))).toBe(20 * upTo2)
    // Query, key and value stay; output projection and feed-forward go.
    const left = weights(/^blk\.2\.(attn_output|ffn_)/)
    expect(neededOperations(gguf, 2, trial(10, 6))).toBe(20 * upTo2 - 12 * left)
    expect(mainType(gguf)).toBe('F32')
  })
})

describe('roof', () => {
  it('should be a rate that a processor can have', async () => {
    await using model = await openModel(TINY_BASE)
    const rate = await roof(model, 1, 0.05)
    expect(rate).toBeGreaterThan(1e7)
    expect(rate).toBeLessThan(1e14)
  })
})
