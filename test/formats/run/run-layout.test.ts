import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readPeftAdapter } from '../../../lib/formats/peft/peft.js'
import { transposeMatrix } from '../../../lib/formats/peft/transpose.js'
import { scanRunFolder } from '../../../lib/formats/run/run-folder.js'
import { recogniseLayout } from '../../../lib/formats/run/run-layout.js'
import { encodeSafetensors } from '../../../lib/formats/safetensors/safetensors.js'
import { packageRoot } from '../../../lib/package.js'

const FIXTURES = join(packageRoot, 'test/fixtures')
const ADAPTER = join(FIXTURES, 'oracles/llama/adapter-plain')

let run: string
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), 'traitscope-layout-'))
})
afterEach(() => rm(run, { recursive: true, force: true }))

const write = async (path: string, text = ''): Promise<void> => {
  await mkdir(join(run, path, '..'), { recursive: true })
  await writeFile(join(run, path), text)
}
const adapter = (path: string) => cp(ADAPTER, join(run, path), { recursive: true })
const state = (step: number) => JSON.stringify({ global_step: step, log_history: [{ step, loss: 1 }] })
const card = (...tags: string[]) =>
  `---\nlibrary_name: peft\ntags:\n${tags.map((tag) => `- ${tag}\n`).join('')}---\n`
const found = async () => {
  const scan = await scanRunFolder(run)
  return { scan, layout: await recogniseLayout(scan) }
}

/** A checkpoint as the Hugging Face trainer writes it. */
async function checkpoint(step: number): Promise<void> {
  await adapter(`checkpoint-${step}`)
  await write(`checkpoint-${step}/trainer_state.json`, state(step))
}

describe('recogniseLayout', () => {
  it('should recognise what TRL wrote', async () => {
    const scan = await scanRunFolder(join(FIXTURES, 'layouts/trl'))
    expect(scan.checkpoints.map(({ step, state: done }) => [step, done])).toEqual([
      [2, 'complete'],
      [4, 'complete'],
    ])
    expect(scan.final?.aliasOf).toBe(4)
    expect(await recogniseLayout(scan)).toEqual({ tool: 'TRL', evidence: 'the tag trl of the model card' })
  })

  it('should recognise what the Hugging Face trainer wrote', async () => {
    const scan = await scanRunFolder(join(FIXTURES, 'tiny/run'))
    expect(await recogniseLayout(scan)).toEqual({
      tool: 'Hugging Face Trainer',
      evidence: 'trainer_state.json',
    })
  })

  it('should recognise the classic layout of LLaMA-Factory', async () => {
    await checkpoint(10)
    await write('trainer_log.jsonl', '{"current_steps": 10}\n')
    expect((await found()).layout).toEqual({ tool: 'LLaMA-Factory', evidence: 'trainer_log.jsonl' })
  })

  it('should recognise version 1 of LLaMA-Factory, whose marker comes last', async () => {
    await adapter('checkpoint-10/model')
    expect((await found()).scan.checkpoints[0]).toMatchObject({ state: 'incomplete' })
    await write('checkpoint-10/CHECKPOINT_COMPLETE')
    const { scan, layout } = await found()
    expect(layout?.tool).toBe('LLaMA-Factory v1')
    expect(scan.checkpoints[0]).toMatchObject({ state: 'complete', path: join(run, 'checkpoint-10/model') })
  })

  it('should recognise Axolotl by its token count or its card, and not take its early configuration for an adapter', async () => {
    await checkpoint(10)
    await write('adapter_config.json', await readFile(join(ADAPTER, 'adapter_config.json'), 'utf8'))
    await write('README.md', card('axolotl', 'trl'))
    const { scan, layout } = await found()
    expect(layout?.tool).toBe('Axolotl')
    expect(scan.final).toBeUndefined()
    await write('README.md', '')
    await write('checkpoint-10/tokens_state.json', '{}')
    expect((await found()).layout?.evidence).toBe('tokens_state.json')
  })

  it('should recognise Unsloth by its card or its base', async () => {
    await checkpoint(10)
    await write('checkpoint-10/README.md', card('unsloth', 'trl'))
    expect((await found()).layout?.tool).toBe('Unsloth')
    await write('checkpoint-10/README.md', '')
    const config = JSON.parse(await readFile(join(ADAPTER, 'adapter_config.json'), 'utf8'))
    config.base_model_name_or_path = 'unsloth/Llama-3.2-1B-Instruct-bnb-4bit'
    await write('checkpoint-10/adapter_config.json', JSON.stringify(config))
    expect((await found()).layout).toEqual({
      tool: 'Unsloth',
      evidence: 'base unsloth/Llama-3.2-1B-Instruct-bnb-4bit',
    })
  })

  it("should not take step_N by itself for torchtune: loops of one's own call folders so", async () => {
    await adapter('step_10')
    expect((await found()).layout).toEqual({ tool: 'torchtune or a loop of its own', evidence: 'step_10' })
  })

  it.each([
    ['epoch', 0, 1],
    ['step', 1, 0],
  ])('should read %s_N of torchtune as checkpoints', async (unit, first, more) => {
    await adapter(`${unit}_${first}`)
    await adapter(`${unit}_11`)
    await write(`${unit}_2/adapter_model.safetensors`, 'short')
    await write('recipe_state/recipe_state.pt')
    const { scan, layout } = await found()
    expect(layout?.tool).toBe('torchtune')
    expect(scan.checkpoints.map(({ step, state: done }) => [step, done])).toEqual([
      [1, 'complete'],
      [2 + more, 'incomplete'],
      [11 + more, 'complete'],
    ])
    expect(scan.final).toBeUndefined()
  })

  it('should say nothing where nothing tells', async () => {
    await adapter('.')
    expect((await found()).layout).toBeUndefined()
  })
})

describe('an adapter of mlx-lm', () => {
  it('should be recognised as its tool wrote it', async () => {
    const scan = await scanRunFolder(join(FIXTURES, 'layouts/mlx-lm'))
    expect(scan.kind).toBe('adapter')
    expect(await recogniseLayout(scan)).toEqual({ tool: 'mlx-lm', evidence: 'adapters.safetensors' })
  })

  interface Change {
    config?: object
    rename?: (name: string) => string
    edit?: (tensors: Map<string, { shape: number[]; data: Float32Array }>) => void
  }

  /** The oracle's adapter as mlx-lm would have saved it: transposed, with the factor in the configuration. */
  async function write(change: Change = {}): Promise<void> {
    const peft = await readPeftAdapter(ADAPTER)
    const tensors = new Map<string, { shape: number[]; data: Float32Array }>()
    for (const { path, a, b, r, inFeatures, outFeatures } of peft.modules) {
      tensors.set(`${path}.lora_a`, { shape: [inFeatures, r], data: transposeMatrix(a, r) })
      tensors.set(`${path}.lora_b`, { shape: [r, outFeatures], data: transposeMatrix(b, outFeatures) })
    }
    change.edit?.(tensors)
    const list = [...tensors].map(([name, tensor]) => ({
      name: change.rename?.(name) ?? name,
      dtype: 'F32' as const,
      ...tensor,
    }))
    await writeFile(join(run, 'adapters.safetensors'), encodeSafetensors(list))
    const config = {
      fine_tune_type: 'lora',
      num_layers: 3,
      lora_parameters: { rank: 4, scale: 2, dropout: 0 },
    }
    await writeFile(join(run, 'adapter_config.json'), JSON.stringify({ ...config, ...change.config }))
  }

  it('should be read as the PEFT adapter that it equals', async () => {
    await write()
    const { modules, sha256 } = await readPeftAdapter(run)
    expect(modules).toEqual((await readPeftAdapter(ADAPTER)).modules)
    expect(sha256).toMatch(/^[0-9a-f]{64}$/)
    const scan = await scanRunFolder(run)
    expect(scan).toMatchObject({ kind: 'adapter', final: { path: run } })
    expect((await recogniseLayout(scan))?.tool).toBe('mlx-lm')
  })

  it('should be read from a numbered copy as from the last file', async () => {
    await write()
    const copy = join(run, '0000200_adapters.safetensors')
    await cp(join(run, 'adapters.safetensors'), copy)
    const { modules, sha256, files } = await readPeftAdapter(copy)
    expect({ modules, sha256 }).toEqual(
      await readPeftAdapter(run).then((last) => ({ modules: last.modules, sha256: last.sha256 })),
    )
    expect(files.map(({ path }) => path)).toEqual([copy, join(run, 'adapter_config.json')])
    expect((await scanRunFolder(run)).final).toMatchObject({ path: run, aliasOf: 200 })
  })

  it('should keep the factors of an embedding in their order', async () => {
    const [lookup, back] = [
      Float32Array.from({ length: 40 }, (_, i) => i),
      Float32Array.from({ length: 12 }, (_, i) => -i),
    ]
    await write({
      edit: (tensors) => {
        tensors.clear()
        tensors.set('model.embed_tokens.lora_a', { shape: [10, 4], data: lookup })
        tensors.set('model.embed_tokens.lora_b', { shape: [4, 3], data: back })
      },
    })
    expect((await readPeftAdapter(run)).modules).toEqual([
      {
        path: 'model.embed_tokens',
        a: back,
        b: lookup,
        r: 4,
        scale: 2,
        inFeatures: 3,
        outFeatures: 10,
        embedding: true,
      },
    ])
  })

  it.each<[string, Change, string, RegExp]>([
    ['DoRA', { config: { fine_tune_type: 'dora' } }, 'UNSUPPORTED', /"dora"; fuse it with mlx_lm\.fuse/],
    [
      'full fine-tuning',
      { config: { fine_tune_type: 'full' } },
      'UNSUPPORTED',
      /"full".*measure the whole model/,
    ],
    [
      'another tensor',
      { rename: (name) => name.replace('lora_a', 'm') },
      'UNSUPPORTED',
      /\.m".*mlx_lm\.fuse/,
    ],
    [
      'half a pair',
      { edit: (tensors) => void tensors.delete([...tensors.keys()][0]!) },
      'ADAPTER_INVALID',
      /one of them/,
    ],
    ['another rank', { config: { lora_parameters: { rank: 8, scale: 2 } } }, 'ADAPTER_INVALID', /rank 8/],
    ['no scale', { config: { lora_parameters: { rank: 4 } } }, 'ADAPTER_INVALID', /numbers rank and scale/],
    ['no tensors', { edit: (tensors) => tensors.clear() }, 'ADAPTER_INVALID', /found none/],
    [
      'a number that is none',
      { edit: (tensors) => void tensors.values().next().value!.data.fill(Number.NaN, 3, 4) },
      'ADAPTER_INVALID',
      /NaN at element 3/,
    ],
  ])('should refuse %s', async (_, change, code, message) => {
    await write(change)
    await expect(readPeftAdapter(run)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
  })

  it('should be waited for without its configuration', async () => {
    await write()
    await rm(join(run, 'adapter_config.json'))
    await expect(readPeftAdapter(run)).rejects.toMatchObject({
      code: 'FILE_INCOMPLETE',
      message: expect.stringContaining('found only adapters.safetensors'),
    })
  })
})
