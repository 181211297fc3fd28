import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { TINY_PACK } from '../helpers/tiny.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
const FIXTURES = join(packageRoot, 'test/fixtures')
const RUN = join(FIXTURES, 'convert/full-llama')
const BASE = ['-m', join(FIXTURES, 'oracles/llama/model.gguf'), '--traits', TINY_PACK]

interface Document {
  full_finetune: boolean
  lora_rank: number | null
  trajectory: { step: number; projections: Record<string, number> }[]
}

describe('a fully fine-tuned run', () => {
  let directions: string[]
  beforeAll(async () => {
    const out = work.path('directions')
    await work.succeed(['directions', ...BASE, '-l', '1', '--no-probes', '-o', out])
    directions = ['--directions', out]
  })

  it('should be measured like the adapter that makes the same change', async () => {
    const measure = async (run: string): Promise<Document> =>
      JSON.parse((await work.succeed(['measure', ...BASE, ...directions, run, '--json'])).stdout)
    const full = await measure(RUN)
    expect(full).toMatchObject({ full_finetune: true, lora_rank: null })
    expect(full.trajectory.map(({ step }) => step)).toEqual([0, 8])
    const adapter = await measure(join(FIXTURES, 'oracles/llama/adapter-plain'))
    expect(adapter).toMatchObject({ full_finetune: false, lora_rank: 4 })
    const base = full.trajectory[0]!.projections
    for (const [trait, value] of Object.entries(full.trajectory[1]!.projections)) {
      const expected = adapter.trajectory[1]!.projections[trait]!
      expect(Math.abs(value - expected)).toBeLessThan(1e-3 * Math.abs(expected - base[trait]!) + 1e-5)
    }
    expect(
      readdirSync(work.path('cache', 'traitscope')).filter((name) => name.startsWith('checkpoint-')),
    ).toEqual([])
  })

  it('should be watched: shards are waited for, the final model is counted once', async () => {
    const run = work.path('run')
    const checkpoint = join(run, 'checkpoint-8')
    mkdirSync(run)
    cpSync(join(RUN, 'checkpoint-8'), checkpoint, { recursive: true })
    const shard = join(checkpoint, 'model-00003-of-00003.safetensors')
    rmSync(shard)
    const watch = async (expected: number) => {
      const { code, stdout } = await work.run([
        ...['watch', ...BASE, ...directions, run, '--once', '--jsonl'],
      ])
      expect(code).toBe(expected)
      return stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    }
    expect(await watch(1)).toContainEqual(
      expect.objectContaining({
        type: 'waiting',
        step: 8,
        reason: expect.stringContaining('model-00003-of-00003.safetensors'),
      }),
    )
    cpSync(join(RUN, 'checkpoint-8'), checkpoint, { recursive: true })
    cpSync(join(RUN, 'checkpoint-8'), run, { recursive: true })
    const events = await watch(0)
    expect(events.filter(({ type }) => type === 'checkpoint')).toEqual([
      expect.objectContaining({ step: 8, loss: 0.5, adapterSha256: expect.stringMatching(/^[0-9a-f]{64}$/) }),
    ])
    const unsecured = {
      type: 'unsecured',
      step: 8,
      reason: expect.stringMatching(/^whole models are not kept/),
    }
    expect(events.filter(({ type }) => type === 'unsecured')).toEqual([expect.objectContaining(unsecured)])
    expect(events.at(-1)).toMatchObject({ type: 'end', measured: 1, finalAliasOf: 8 })
    expect(existsSync(shard)).toBe(true)
  })
})

describe('traitscope convert', () => {
  it('should write a base that the other commands take', async () => {
    const out = work.path('base.gguf')
    const { stdout } = await work.succeed([
      'convert',
      join(FIXTURES, 'convert/qwen2/hf'),
      '-o',
      out,
      '--type',
      'f32',
      '-q',
    ])
    expect(stdout).toBe(`${out}: qwen2, 3 blocks, 39 tensors in F32, tokenizer qwen2\n`)
    const { stdout: facts } = await work.succeed(['inspect', out])
    expect(facts).toMatch(/39 F32/)
    const prompts = work.write('prompts.txt', 'Why does bread rise?\n')
    await work.succeed([
      'extract',
      '-m',
      out,
      '-p',
      prompts,
      '-l',
      '2',
      '-o',
      work.path('states.safetensors'),
    ])
    const again = await work.run(['convert', join(FIXTURES, 'convert/qwen2/hf'), '-o', out])
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('--force') })
  })

  it('should name the folder that is no model', async () => {
    const { code, stderr } = await work.run(['convert', work.folder, '-o', work.path('x.gguf')])
    expect(code).toBe(1)
    expect(stderr).toContain('config.json')
  })
})
