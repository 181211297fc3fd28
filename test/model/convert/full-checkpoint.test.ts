import { appendFile, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { binding } from '../../../lib/binding.js'
import { convertModel } from '../../../lib/conversion/convert-model.js'
import { readGguf } from '../../../lib/formats/gguf/gguf.js'
import { HfWeights, hashWeights } from '../../../lib/formats/hf/hf-weights.js'
import { encodeSafetensors, readSafetensors } from '../../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../../lib/hidden-states/hidden-states.js'
import { openCheckpoint } from '../../../lib/model/checkpoint/open-checkpoint.js'
import { convertCheckpoint } from '../../../lib/model/convert/full-checkpoint.js'
import { openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'
import { isMapped } from '../../helpers/mapped.js'
import { relativeL2 } from '../../helpers/tiny.js'

const FIXTURES = join(packageRoot, 'test/fixtures/convert')
const ORACLE = join(packageRoot, 'test/fixtures/oracles/llama')
const CHECKPOINT = join(FIXTURES, 'full-llama/checkpoint-8')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-full-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('openCheckpoint on a whole model', () => {
  it('should give the states that peft gives after merging the same change', async () => {
    const prompts = JSON.parse(await readFile(join(ORACLE, 'prompts.json'), 'utf8')) as {
      prompts: { ids: number[] }[]
    }
    const golden = await readSafetensors(join(ORACLE, 'golden-plain.safetensors'))
    await using model = await openModel(join(ORACLE, 'model.gguf'))
    const layers = [0, 1, 2]
    {
      await using checkpoint = await openCheckpoint(model, CHECKPOINT, { cacheDir: folder })
      expect(checkpoint).toMatchObject({ how: 'convert', sha256: await hashWeights(CHECKPOINT) })
      expect(checkpoint.model).not.toBe(model)
      const ids = prompts.prompts.map((prompt) => Int32Array.from(prompt.ids))
      const { data } = await hiddenStates(checkpoint.model, ids, { layers })
      expect(relativeL2(data, golden.float32('last'))).toBeLessThan(1e-5)
    }
    expect(await readdir(folder)).toEqual([])
    expect(model.info.nLayer).toBe(3)
  })

  it.each([
    ['no base', {}, /does not name its base, and this one is called/],
    ['an empty one', { _name_or_path: '' }, /does not name its base/],
    ['another one', { _name_or_path: 'someone/other-7B' }, /names "someone\/other-7B" as its base/],
  ])(
    'should say that its base could not be compared, or differs, with %s in config.json',
    async (_, named, remark) => {
      const copy = await mkdtemp(join(folder, 'named-'))
      await cp(CHECKPOINT, copy, { recursive: true })
      const path = join(copy, 'config.json')
      const { _name_or_path: __, ...config } = JSON.parse(await readFile(path, 'utf8'))
      await writeFile(path, JSON.stringify({ ...config, ...named }))
      await using model = await openModel(join(ORACLE, 'model.gguf'))
      {
        await using checkpoint = await openCheckpoint(model, copy, { cacheDir: folder })
        expect(checkpoint.remarks).toEqual([expect.stringMatching(remark)])
      }
      await rm(copy, { recursive: true })
    },
  )

  it('should open the copy as the base was opened, in every respect', async () => {
    const options = { gpuLayers: 0, threads: 2, batchTokens: 300, mmap: false, repack: false }
    await using model = await openModel(join(ORACLE, 'model.gguf'), options)
    await using checkpoint = await openCheckpoint(model, CHECKPOINT, { cacheDir: folder })
    expect(checkpoint.model.options).toMatchObject(options)
    expect(await isMapped(checkpoint.model.path)).toBe(false)
  })

  it('should give the identity of the bytes that it read, whatever becomes of the files', async () => {
    const copy = join(folder, 'copy')
    await cp(CHECKPOINT, copy, { recursive: true })
    const expected = await hashWeights(copy)
    await using weights = await HfWeights.open(copy)
    for (const tensor of weights.tensors.values()) await weights.read(tensor)
    await rm(copy, { recursive: true })
    expect((await weights.hash()).sha256).toBe(expected)

    await cp(CHECKPOINT, copy, { recursive: true })
    await using rewritten = await HfWeights.open(copy)
    for (const tensor of rewritten.tensors.values()) await rewritten.read(tensor)
    await appendFile(join(copy, rewritten.files[0]!), 'x')
    await expect(rewritten.hash()).rejects.toMatchObject({ code: 'FILE_INCOMPLETE' })
    await rm(copy, { recursive: true })
  })

  it('should leave nothing behind when the checkpoint does not fit', async () => {
    await using model = await openModel(join(packageRoot, 'test/fixtures/oracles/qwen2/model.gguf'))
    await expect(openCheckpoint(model, CHECKPOINT, { cacheDir: folder })).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringMatching(
        /does not fit .*which has shape \[384,64\] for lm_head\.weight, not \[384,32\]/,
      ),
    })
    expect(await readdir(folder)).toEqual([])
  })
})

describe('convertCheckpoint', () => {
  it.each(['llama', 'mistral', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'phi4-mini'])(
    'should give the base of %s back for its own weights, byte for byte',
    async (name) => {
      const [base, again] = [join(folder, `${name}.gguf`), join(folder, `${name}-again.gguf`)]
      const source = join(FIXTURES, name, 'hf')
      await convertModel(source, base, { force: true, type: name === 'mistral' ? 'F16' : undefined })
      await convertCheckpoint(await readGguf(base), source, again, { force: true })
      expect(Buffer.compare(await readFile(base), await readFile(again))).toBe(0)
    },
  )

  /** The checkpoint with its tensors changed, as one file. */
  async function changed(
    change: (tensors: Map<string, Float32Array>, shapes: Map<string, number[]>) => void,
  ) {
    const copy = await mkdtemp(join(folder, 'copy-'))
    const values = new Map<string, Float32Array>()
    const shapes = new Map<string, number[]>()
    for (const name of (await readdir(CHECKPOINT)).filter((each) => each.endsWith('.safetensors'))) {
      const file = await readSafetensors(join(CHECKPOINT, name))
      for (const [tensor, { shape }] of file.tensors) {
        values.set(tensor, file.float32(tensor))
        shapes.set(tensor, [...shape])
      }
    }
    change(values, shapes)
    const tensors = [...values].map(([name, data]) => ({
      name,
      dtype: 'F32' as const,
      shape: shapes.get(name)!,
      data,
    }))
    await writeFile(join(copy, 'model.safetensors'), encodeSafetensors(tensors))
    await cp(join(CHECKPOINT, 'config.json'), join(copy, 'config.json'))
    return copy
  }
  const convert = async (source: string, base = join(ORACLE, 'model.gguf')) =>
    convertCheckpoint(await readGguf(base), source, join(folder, 'out.gguf'), { force: true })

  it.each([
    [
      'a tensor that is missing',
      (tensors: Map<string, Float32Array>) => void tensors.delete('model.layers.1.mlp.up_proj.weight'),
      'ADAPTER_MISMATCH',
      /blk\.1\.ffn_up\.weight, which the checkpoint lacks/,
    ],
    [
      'a block too many',
      (tensors: Map<string, Float32Array>, shapes: Map<string, number[]>) => {
        tensors.set('model.layers.3.mlp.up_proj.weight', tensors.get('model.layers.1.mlp.up_proj.weight')!)
        shapes.set('model.layers.3.mlp.up_proj.weight', [96, 32])
      },
      'ADAPTER_MISMATCH',
      /no place for model\.layers\.3\.mlp\.up_proj\.weight \(blk\.3\.ffn_up\.weight\)/,
    ],
    [
      'a tensor of no language model',
      (tensors: Map<string, Float32Array>, shapes: Map<string, number[]>) => {
        tensors.set('value_head.weight', new Float32Array(32))
        shapes.set('value_head.weight', [1, 32])
      },
      'UNSUPPORTED',
      /"value_head\.weight".*no place in a llama GGUF/,
    ],
    [
      'a tensor that was not gathered',
      (tensors: Map<string, Float32Array>, shapes: Map<string, number[]>) => {
        tensors.set('model.norm.weight', new Float32Array(0))
        shapes.set('model.norm.weight', [0])
      },
      'FILE_INVALID',
      /"model\.norm\.weight".*ZeRO-3/,
    ],
    [
      'a value that is no number',
      (tensors: Map<string, Float32Array>) => {
        tensors.get('model.layers.2.self_attn.k_proj.weight')![7] = Number.POSITIVE_INFINITY
      },
      'FILE_INVALID',
      /"model\.layers\.2\.self_attn\.k_proj\.weight".*Infinity.*diverged/,
    ],
  ])('should refuse %s', async (_, change, code, message) => {
    await expect(convert(await changed(change))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
  })

  it('should refuse a head of its own on a base that has none', async () => {
    const base = join(folder, 'tied.gguf')
    const source = await mkdtemp(join(folder, 'tied-'))
    await cp(join(FIXTURES, 'llama/hf'), source, { recursive: true })
    const config = JSON.parse(await readFile(join(source, 'config.json'), 'utf8'))
    await writeFile(join(source, 'config.json'), JSON.stringify({ ...config, tie_word_embeddings: true }))
    await convertModel(source, base)
    await convert(source, base)
    await expect(convert(CHECKPOINT, base)).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringMatching(/tied.*one of its own/),
    })
  })

  it.each(['Q8_0', 'Q4_0'])("should quantise as llama.cpp's quantiser for a base in %s", async (type) => {
    const [whole, base, again] = ['whole', `base-${type}`, `again-${type}`].map((name) =>
      join(folder, `${name}.gguf`),
    )
    await convertModel(join(FIXTURES, 'llama/hf'), whole!, { force: true, type: 'F32' })
    await binding().quantize(whole!, base!, type, 1)
    expect((await readGguf(base!)).tensors.get('blk.0.attn_q.weight')!.type).toBe(type)
    await convertCheckpoint(await readGguf(base!), join(FIXTURES, 'llama/hf'), again!, { threads: 2 })
    expect(Buffer.compare(await readFile(base!), await readFile(again!))).toBe(0)
  })

  it.each([
    [
      { rms_norm_eps: 1e-3 },
      /asks for llama\.attention\.layer_norm_rms_epsilon 0\.001, .*computes with 0\.0000/,
    ],
    [{ rope_parameters: { rope_type: 'default', rope_theta: 1e4 } }, /rope\.freq_base 10000.*500000/],
    [
      { rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 5e5 } },
      /rope\.scaling\.type "linear".*"none"/,
    ],
    [
      { rope_parameters: { rope_type: 'yarn', factor: 2, rope_theta: 5e5, truncate: false } },
      /rope_parameters\.truncate false/,
    ],
  ])('should refuse a checkpoint whose settings are not those of the base: %j', async (change, message) => {
    const copy = await mkdtemp(join(folder, 'settings-'))
    await cp(CHECKPOINT, copy, { recursive: true })
    const config = JSON.parse(await readFile(join(copy, 'config.json'), 'utf8'))
    await writeFile(join(copy, 'config.json'), JSON.stringify({ ...config, ...change }))
    const base = await readGguf(join(ORACLE, 'model.gguf'))
    await expect(convertCheckpoint(base, copy, join(copy, 'out.gguf'))).rejects.toMatchObject({
      message: expect.stringMatching(message),
    })
    expect((await readdir(copy)).filter((name) => name.includes('out.gguf'))).toEqual([])
  })

  it('should refuse a base that needs an importance matrix, with the remedy', async () => {
    const gguf = await readGguf(join(ORACLE, 'model.gguf'))
    const tensors = new Map(gguf.tensors)
    tensors.set('blk.0.ffn_up.weight', { ...tensors.get('blk.0.ffn_up.weight')!, type: 'IQ2_XXS' })
    await expect(
      convertCheckpoint({ ...gguf, tensors }, CHECKPOINT, join(folder, 'out.gguf'), { force: true }),
    ).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/IQ2_XXS.*traitscope convert/),
    })
  })
})
