import { describe, expect, it } from 'vitest'
import type { GgufValue } from '../../lib/formats/gguf/gguf-values.js'
import { planGeneration } from '../../lib/model/placement.js'

/** Llama 3.2 1B: 64 KiB of keys and values per token. */
const metadata = new Map<string, GgufValue>([
  ['llama.block_count', 16],
  ['llama.embedding_length', 2048],
  ['llama.attention.head_count', 32],
  ['llama.attention.head_count_kv', 8],
])
const model = { gguf: { metadata }, info: { architecture: 'llama', nVocab: 128_256 } }
const wanted = { count: 500, length: 700, scores: false }

describe('planGeneration()', () => {
  it('should fill 2 GiB on a CPU, in steps of 256 tokens', () => {
    const plan = planGeneration(model, wanted)
    expect(plan).toEqual({
      sequences: Math.floor(2 ** 31 / (768 * 65_536)),
      cells: 768,
      bytes: 42 * 768 * 65_536,
      microBatch: 512,
    })
  })

  it('should fill a quarter of a GPU, up to the ceiling of sequences', () => {
    expect(planGeneration({ ...model, gpuBytes: 24 * 2 ** 30 }, wanted).sequences).toBe(128)
    expect(planGeneration({ ...model, gpuBytes: 141 * 2 ** 30 }, wanted).sequences).toBe(256)
  })

  it('should take no more sequences than there are, or than were asked for, and always one', () => {
    expect(planGeneration(model, { ...wanted, count: 5 }).sequences).toBe(5)
    expect(planGeneration(model, { ...wanted, sequences: 100 }).sequences).toBe(100)
    expect(planGeneration(model, { ...wanted, length: 100_000 })).toMatchObject({
      sequences: 1,
      cells: 100_096,
    })
  })

  it('should keep what one decode needs near 128 MiB, but take every sequence', () => {
    expect(planGeneration(model, { ...wanted, length: 8192 }).microBatch).toBe(128)
    expect(planGeneration(model, { ...wanted, scores: true }).microBatch).toBe(261)
    const many = planGeneration({ ...model, gpuBytes: 2 ** 40 }, { ...wanted, length: 8192 })
    expect(many).toMatchObject({ sequences: 256, microBatch: 256 })
  })

  it('should count the block with the most heads where they differ', () => {
    const uneven = new Map(metadata).set('llama.attention.head_count_kv', Int32Array.of(2, 8, 4))
    expect(planGeneration({ ...model, gguf: { metadata: uneven } }, wanted)).toEqual(
      planGeneration(model, wanted),
    )
  })
})
