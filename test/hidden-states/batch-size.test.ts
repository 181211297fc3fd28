import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convertModel } from '../../lib/conversion/convert-model.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { changedFolder } from '../helpers/convert-folder.js'
import { relativeL2 } from '../helpers/tiny.js'

const ORACLES = join(packageRoot, 'test/fixtures/oracles')
/** Memory never decides what a state is: 256 is the least, the others cross LongRoPE's context of 256. */
const SIZES = [256, 512, 1024]
const FAMILIES = ['llama', 'mistral', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'phi4-mini', 'phi4']

let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'traitscope-batch-size-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

/** Phi-3 with LongRoPE, whose short factors are for up to 256 tokens, and a window for longer prompts than those here. */
async function longRope(): Promise<string> {
  const config = { original_max_position_embeddings: 256, rope_parameters: LONG, sliding_window: null }
  const out = join(scratch, 'long.gguf')
  await convertModel(await changedFolder(scratch, 'phi3', { config }), out, { type: 'F32', force: true })
  return out
}
const LONG = {
  rope_type: 'longrope',
  rope_theta: 10000,
  partial_rotary_factor: 1,
  long_factor: [1.08, 1.3, 2, 3.5, 5, 9, 14, 22],
  short_factor: [1, 1.02, 1.1, 1.25, 1.4, 1.75, 2.1, 2.4],
}

const prompt = (length: number) =>
  fc.array(fc.integer({ min: 10, max: 300 }), { minLength: length, maxLength: length })
/** Prompts that share beginnings, and one that another continues. */
const prompts = (longest: number) =>
  fc
    .array(fc.integer({ min: 1, max: longest }), { minLength: 2, maxLength: 5 })
    .chain((lengths) => fc.tuple(prompt(longest), ...lengths.map(prompt)))
    .map(([first, ...rest]) =>
      [...rest, first, first.slice(0, first.length / 2 + 1)].map((ids) => Int32Array.from(ids)),
    )

describe('the batch size', () => {
  it.each([...FAMILIES, 'LongRoPE'])('should be no part of the numbers: %s', async (name) => {
    const path = name === 'LongRoPE' ? await longRope() : join(ORACLES, name, 'model.gguf')
    const models = await Promise.all(SIZES.map((batchTokens) => openModel(path, { batchTokens })))
    // llama.cpp's GELU comes from a table of F16 values, so that the last bit before it may become more.
    const tolerance = name.startsWith('gemma') ? 1e-3 : 1e-5
    const layers = Array.from({ length: models[0]!.info.nLayer }, (_, layer) => layer)
    try {
      await fc.assert(
        fc.asyncProperty(
          prompts(250),
          fc.constantFrom('last' as const, 'mean' as const),
          async (ids, pool) => {
            const states = await Promise.all(
              models.map((model) => hiddenStates(model, ids, { layers, pool })),
            )
            for (const { data } of states.slice(1))
              expect(relativeL2(data, states[0]!.data)).toBeLessThan(tolerance)
          },
        ),
        { numRuns: 2, seed: 7, endOnFailure: true },
      )
    } finally {
      await Promise.all(models.map((model) => model.close()))
    }
  })

  it('should keep prompts of both rotations apart, however they are mixed', async () => {
    const path = await longRope()
    const long = Int32Array.from({ length: 300 }, (_, i) => 10 + ((i * 37) % 300))
    const short = long.slice(0, 256) // the long one continues it
    await using model = await openModel(path, { batchTokens: 512 })
    for (const pool of ['last', 'mean', 'tokens'] as const) {
      const read = async (ids: Int32Array[]) =>
        (await hiddenStates(model, ids, { layers: [0, 2], pool })).data
      const [both, alone] = [await read([long, short]), [await read([long]), await read([short])]]
      const expected = Float32Array.from(alone.flatMap((data) => [...data]))
      expect(relativeL2(both, expected)).toBeLessThan(1e-6)
    }
    // One token more takes the other factors: the prompts are nearly the same, their states are not.
    const [a, b] = await Promise.all(
      [256, 257].map((n) => hiddenStates(model, [long.slice(0, n)], { layers: [2], pool: 'tokens' })),
    )
    expect(relativeL2(b!.data.subarray(0, a!.data.length), a!.data)).toBeGreaterThan(0.05)
  })
})
