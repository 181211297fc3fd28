import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { convertModel } from '../../../lib/conversion/convert-model.js'
import { hashWeights } from '../../../lib/formats/hf/hf-weights.js'
import { readPeftAdapter } from '../../../lib/formats/peft/peft.js'
import {
  encodeSafetensors,
  readSafetensors,
  type SafetensorsInput,
} from '../../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../../lib/hidden-states/hidden-states.js'
import { openCheckpoint } from '../../../lib/model/checkpoint/open-checkpoint.js'
import { type Model, openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'
import { relativeL2 } from '../../helpers/tiny.js'

// What peft and transformers saved (lab/quirks.py), with their own states.
const QUIRKS = join(packageRoot, 'test/fixtures/quirks')
const ORACLES = join(packageRoot, 'test/fixtures/oracles')

let llama: Model
let folder: string
beforeAll(async () => {
  llama = await openModel(join(ORACLES, 'llama/model.gguf'), { threads: 1 })
})
afterAll(() => llama?.close())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-quirks-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** Relative L2 of the last tokens' states over all blocks, from what transformers has. */
async function errorOf(base: Model, weights: string, name: string, oracle = 'llama'): Promise<number> {
  const { prompts } = JSON.parse(await readFile(join(ORACLES, oracle, 'prompts.json'), 'utf8')) as {
    prompts: { ids: number[] }[]
  }
  await using checkpoint = await openCheckpoint(base, weights)
  const layers = Array.from({ length: base.info.nLayer }, (_, i) => i)
  const ids = prompts.map((prompt) => Int32Array.from(prompt.ids))
  const { data } = await hiddenStates(checkpoint.model, ids, { layers, adapter: checkpoint.adapter })
  const golden = await readSafetensors(join(QUIRKS, 'golden.safetensors'))
  return relativeL2(data, golden.float32(name))
}

describe('adapters with more in the file than LoRA', () => {
  it('should read VeLoRA without its buffers', async () => {
    const { buffers, remarks } = await readPeftAdapter(join(QUIRKS, 'velora'))
    expect(buffers).toHaveLength(6)
    expect(remarks).toEqual([
      expect.stringMatching(/^6 buffers \(.*lora_velora_embed, \.\.\.\) are left out/),
    ])
    expect(await errorOf(llama, join(QUIRKS, 'velora'), 'velora')).toBeLessThan(3e-6)
  })

  it('should read a state_dict that has the name of the adapter in it', async () => {
    expect(await errorOf(llama, join(QUIRKS, 'state-dict'), 'compiled')).toBeLessThan(3e-6)
  })

  it('should leave out the vision part of an adapter while it is zero', async () => {
    await using gemma = await openModel(join(ORACLES, 'gemma3/model.gguf'), { threads: 1 })
    const { modules, remarks } = await readPeftAdapter(join(QUIRKS, 'vision'))
    expect(modules).toHaveLength(49)
    expect(remarks).toEqual([expect.stringMatching(/^9 modules of a vision or audio part/)])
    // llama.cpp's table of GELU values.
    expect(await errorOf(gemma, join(QUIRKS, 'vision'), 'vision', 'gemma3')).toBeLessThan(1e-3)
  })

  it('should refuse a vision part that is not zero, and an adapter of nothing else', async () => {
    const vision = await readSafetensors(join(QUIRKS, 'vision/adapter_model.safetensors'))
    const part = (keep: (name: string) => boolean, value: number): SafetensorsInput[] =>
      [...vision.tensors.values()]
        .filter(({ name }) => keep(name))
        .map(({ name, shape }) => {
          const data = vision.float32(name)
          if (name.includes('vision_tower') && name.includes('lora_B')) data[0] = value
          return { name, shape, dtype: 'F32', data }
        })
    const write = async (tensors: SafetensorsInput[]) => {
      await cp(join(QUIRKS, 'vision/adapter_config.json'), join(folder, 'adapter_config.json'))
      await writeFile(join(folder, 'adapter_model.safetensors'), encodeSafetensors(tensors))
    }
    await using gemma = await openModel(join(ORACLES, 'gemma3/model.gguf'), { threads: 1 })
    await write(part(() => true, 1e-3))
    await expect(openCheckpoint(gemma, folder)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/belongs to a vision or audio part/),
    })
    await write(part((name) => name.includes('vision_tower'), 0))
    await expect(openCheckpoint(gemma, folder)).rejects.toMatchObject({
      code: 'ADAPTER_NO_EFFECT',
      message: expect.stringMatching(/9 modules of a vision or audio part .* nothing else/),
    })
  })
})

describe('files that were saved through a wrapper', () => {
  it.each(['compiled-whole', 'compiled-blocks'])('should be refused by its name: %s', async (name) => {
    await expect(openCheckpoint(llama, join(QUIRKS, name))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(
        /"_orig_mod" in its name comes from torch\.compile.*k\.replace\("_orig_mod\.", ""\)/,
      ),
    })
  })

  // The remedy of the message; lab/quirks.py carries it out in Python.
  it.each(['compiled-whole', 'compiled-blocks'])(
    'should be right when the tensors are renamed: %s',
    async (name) => {
      const file = await readSafetensors(join(QUIRKS, name, 'adapter_model.safetensors'))
      const tensors = [...file.tensors.values()].map((entry): SafetensorsInput => {
        const data = file.float32(entry.name)
        return { name: entry.name.replace('_orig_mod.', ''), shape: entry.shape, dtype: 'F32', data }
      })
      await cp(join(QUIRKS, name, 'adapter_config.json'), join(folder, 'adapter_config.json'))
      await writeFile(join(folder, 'adapter_model.safetensors'), encodeSafetensors(tensors))
      expect(await errorOf(llama, folder, 'compiled')).toBeLessThan(3e-6)
    },
  )
})

describe('whole models', () => {
  it('should be refused by the method that they were quantised with', async () => {
    await expect(openCheckpoint(llama, join(QUIRKS, 'bnb4bit'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(
        /quantised weights \(quant_method "bitsandbytes".*save_original_format=False/,
      ),
    })
  })

  it('should be refused as states of a PEFT model, as accelerate saves them', async () => {
    const name = 'base_model.model.model.embed_tokens.weight'
    const tensor: SafetensorsInput = { name, dtype: 'F32', shape: [1, 1], data: Float32Array.of(1) }
    await writeFile(join(folder, 'model.safetensors'), encodeSafetensors([tensor]))
    await expect(openCheckpoint(llama, folder)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/PEFT model with its adapter in it.*merge_and_unload/),
    })
  })

  it('should be read as transformers reads them where an old index lies beside them', async () => {
    const sharded = join(packageRoot, 'test/fixtures/convert/full-llama/checkpoint-8')
    const file = join(folder, 'mixed/model.safetensors')
    await mkdir(join(folder, 'mixed'))
    await cp(sharded, join(folder, 'mixed'), { recursive: true })
    const shards = ['1', '2', '3'].map((n) =>
      readSafetensors(join(sharded, `model-0000${n}-of-00003.safetensors`)),
    )
    const tensors = (await Promise.all(shards)).flatMap((shard) =>
      [...shard.tensors.values()].map(({ name, shape }): SafetensorsInput => {
        const data = shard.float32(name)
        // Another model than that of the shards.
        if (name.endsWith('o_proj.weight')) data.fill(0)
        return { name, shape, dtype: 'F32', data }
      }),
    )
    await writeFile(file, encodeSafetensors(tensors))
    await using checkpoint = await openCheckpoint(llama, join(folder, 'mixed'))
    expect(checkpoint.files.map(({ path }) => path)).toEqual([file])
    expect(checkpoint.remarks).toEqual([
      expect.stringMatching(
        /^model\.safetensors is read, as transformers does; model-00001-of-00003\.safetensors and 3 more/,
      ),
      expect.stringMatching(/^the checkpoint does not name its base, and this one is called "oracle llama"/),
    ])
    const alone = join(folder, 'alone')
    await mkdir(alone)
    await cp(file, join(alone, 'model.safetensors'))
    expect(checkpoint.sha256).toBe(await hashWeights(alone))
    expect(checkpoint.sha256).not.toBe(await hashWeights(sharded))
  })
})

describe('a resized vocabulary', () => {
  it('should be refused with the way out', async () => {
    await expect(openCheckpoint(llama, join(QUIRKS, 'resized'))).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringMatching(
        /resized from 384 to 385 rows.*resize_token_embeddings\(385\).*traitscope convert/,
      ),
    })
  })

  it('should be right on the base that the way out leads to', async () => {
    const out = join(folder, 'resized.gguf')
    await convertModel(join(QUIRKS, 'resized-base'), out, { type: 'F32' })
    await using base = await openModel(out, { threads: 1 })
    expect(await errorOf(base, join(QUIRKS, 'resized'), 'resized')).toBeLessThan(3e-6)
  })
})
