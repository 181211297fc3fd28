import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readGguf } from '../../../lib/formats/gguf/gguf.js'
import { storedMetadata, tensorBytes, writeGgufStream } from '../../../lib/formats/gguf/gguf-stream.js'
import { hiddenStates } from '../../../lib/hidden-states/hidden-states.js'
import { checkLength, contextCells, promptLimits } from '../../../lib/model/base/prompt-limits.js'
import { openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'

const ORACLES = join(packageRoot, 'test/fixtures/oracles')
let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'traitscope-limits-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

/** An oracle with metadata of its own: files that others converted say what they like. */
async function foreign(name: string, changes: Parameters<typeof writeGgufStream>[1]): Promise<string> {
  const base = await readGguf(join(ORACLES, name, 'model.gguf'))
  const path = join(scratch, `${name}-${Object.values(changes.map(([key]) => key)).join('-')}.gguf`)
  const changed = new Set(changes.map(([key]) => key))
  const tensors = [...base.tensors.values()].map((tensor) => ({
    name: tensor.name,
    shape: tensor.shape,
    type: tensor.type,
    chunks: () => tensorBytes(base, tensor, 0, tensor.byteLength),
  }))
  const kept = storedMetadata(base).filter(([key]) => !changed.has(key))
  await writeGgufStream(path, [...kept, ...changes], tensors, { force: true })
  return path
}

describe('the length of a prompt', () => {
  it.each([
    [
      'a window that llama.cpp does not follow',
      'qwen2',
      'qwen2.attention.sliding_window',
      16,
      /last 16 tokens only.*qwen2/,
    ],
    ['a window of Phi-3', 'phi3', 'phi3.attention.sliding_window', 16, /last 16 tokens only.*phi3/],
    ['the context', 'llama', 'llama.context_length', 16, /made for 16/],
  ] as const)('should be bounded by %s', async (_, name, key, value, message) => {
    await using model = await openModel(await foreign(name, [[key, 'u32', value]]))
    const ids = (length: number) => Int32Array.from({ length }, (_, i) => 10 + i)
    const { shape, data } = await hiddenStates(model, [ids(16)], { layers: [0] })
    expect(shape).toEqual([1, 1, model.info.nEmbd])
    expect(data.some((value) => value !== 0)).toBe(true)
    await expect(hiddenStates(model, [ids(3), ids(17)], { layers: [0] })).rejects.toMatchObject({
      code: 'PROMPT_TOO_LONG',
      message: expect.stringMatching(message),
    })
  })

  it('should not be bounded by a window that llama.cpp follows', async () => {
    const gguf = await readGguf(join(ORACLES, 'gemma2/model.gguf'))
    expect(promptLimits(gguf, 'gemma2').longest).toBe(4096)
  })

  it('should decide the context of a LongRoPE base, rounded as llama.cpp rounds it', async () => {
    const gguf = await readGguf(
      await foreign('phi3', [['phi3.rope.scaling.original_context_length', 'u32', 600]]),
    )
    const limits = promptLimits(gguf, 'phi3')
    expect(limits.longRope).toEqual({ original: 600, shortContext: 512 })
    expect([100, 512, 601].map((n) => contextCells(limits, n, 2048))).toEqual([512, 512, 2048])
    expect(() => checkLength(limits, 512, 'it')).not.toThrow()
    expect(() => checkLength(limits, 601, 'it')).not.toThrow()
    expect(() => checkLength(limits, 513, 'it')).toThrow(/it has 513 tokens.*up to 600.*512 at most/)
  })

  it('should leave no short prompt to a base whose short factors llama.cpp never takes', async () => {
    const path = await foreign('phi3', [['phi3.rope.scaling.original_context_length', 'u32', 32]])
    await using model = await openModel(path)
    await expect(hiddenStates(model, [Int32Array.of(11, 12)], { layers: [0] })).rejects.toMatchObject({
      code: 'PROMPT_TOO_LONG',
      message: expect.stringMatching(/contexts of 0 at most/),
    })
  })
})

describe('a rotation that llama.cpp does not follow', () => {
  const yarn = (key: string, value: number): Parameters<typeof foreign>[1] => [
    ['qwen2.rope.scaling.type', 'string', 'yarn'],
    ['qwen2.rope.scaling.factor', 'f32', 4],
    ['qwen2.rope.scaling.original_context_length', 'u32', 1024],
    [`qwen2.rope.scaling.${key}`, 'f32', value],
  ]
  it.each([
    ['yarn_beta_fast', 16, /yarn_beta_fast 16, but llama\.cpp's qwen2 computes with 32/],
    ['yarn_attn_factor', 1, /yarn_attn_factor 1, but .* 1\.1386/],
  ])('should be refused by name: %s', async (key, value, message) => {
    await expect(openModel(await foreign('qwen2', yarn(key, value)))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(message),
    })
  })

  it('should pass where the file states what is computed', async () => {
    await using model = await openModel(await foreign('qwen2', yarn('yarn_attn_factor', 1.1386294)))
    expect(model.info.nLayer).toBe(3)
  })
})

describe('windows that llama.cpp asserts', () => {
  it.each([
    ['gemma2', 'gemma2.attention.sliding_window', 'u32', 0, /sliding_window to be at least 1/],
    [
      'gemma2',
      'gemma2.attention.sliding_window_pattern',
      'i32[]',
      new Int32Array(4),
      /gives some block a window/,
    ],
    ['gemma3', 'gemma3.attention.sliding_window_pattern', 'u32', 1, /gives some block a window/],
    [
      'gemma3',
      'gemma3.attention.sliding_window_pattern',
      'i32[]',
      new Int32Array(2),
      /one integer per block/,
    ],
  ] as const)(
    'should be refused where the process would end: %s %s',
    async (name, key, type, value, message) => {
      await expect(openModel(await foreign(name, [[key, type, value]]))).rejects.toMatchObject({
        code: 'FILE_INVALID',
        message: expect.stringMatching(message),
      })
    },
  )
})

describe('an answer to a prompt', () => {
  const ids = (length: number) => Int32Array.from({ length }, (_, i) => 10 + i)

  it('should end before the rotation of a LongRoPE base would change', async () => {
    const path = await foreign('phi3', [['phi3.rope.scaling.original_context_length', 'u32', 256]])
    await using model = await openModel(path)
    const { generations } = await model.generate([ids(250)], { maxTokens: 50, ignoreEos: true })
    expect(generations[0]![0]).toMatchObject({ finish: 'context' })
    expect(generations[0]![0]!.tokens).toHaveLength(6)
    await expect(model.generate([ids(256)], { maxTokens: 1 })).rejects.toMatchObject({
      code: 'PROMPT_TOO_LONG',
      message: expect.stringMatching(/no room/),
    })
  })

  it('should end before a window that llama.cpp does not follow', async () => {
    await using model = await openModel(
      await foreign('qwen2', [['qwen2.attention.sliding_window', 'u32', 16]]),
    )
    const { generations } = await model.generate([ids(14)], { maxTokens: 50, ignoreEos: true })
    expect(generations[0]![0]).toMatchObject({ finish: 'context' })
    expect(generations[0]![0]!.tokens).toHaveLength(2)
  })
})
