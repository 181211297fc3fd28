import { cp, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { inspectPath } from '../../lib/inspect/inspect.js'
import { packageRoot } from '../../lib/package.js'

const FIXTURES = join(packageRoot, 'test/fixtures')
const base = (name: string) => join(FIXTURES, 'oracles', name, 'model.gguf')

describe('inspectPath on what trainers write', () => {
  it('should say who wrote a run, what is complete and what is counted once', async () => {
    const { kind, facts } = await inspectPath(join(FIXTURES, 'layouts/trl'))
    expect(kind).toBe('run')
    expect(facts).toEqual([
      ['kind', 'LoRA fine-tuning run'],
      ['written by', 'TRL (the tag trl of the model card)'],
      ['step 2', expect.stringMatching(/^complete, loss \d/)],
      ['step 4', expect.stringMatching(/^complete, loss \d/)],
      ['final weights', 'those of step 4, counted once'],
      ['training loss', expect.stringMatching(/^\d+\.\d{4} -> \d+\.\d{4}$/)],
    ])
  })

  it('should say which checkpoints it passed over, where a link leads to nothing', async () => {
    const run = await mkdtemp(join(tmpdir(), 'traitscope-inspect-'))
    await cp(join(FIXTURES, 'tiny/run/checkpoint-10'), join(run, 'checkpoint-10'), { recursive: true })
    await symlink('/nowhere', join(run, 'checkpoint-20'))
    expect((await inspectPath(run)).facts).toContainEqual([
      'checkpoint-20',
      expect.stringMatching(/disappeared.*a link leads to nothing/),
    ])
    await rm(run, { recursive: true })
  })

  it('should know a fully fine-tuned run, and check it against a base', async () => {
    const { facts, fits } = await inspectPath(join(FIXTURES, 'convert/full-llama'), { base: base('llama') })
    expect(facts[0]).toEqual(['kind', 'full fine-tuning run'])
    expect(fits).toEqual({ ok: true, reason: 'all 31 tensors match' })
    const other = await inspectPath(join(FIXTURES, 'convert/full-llama'), { base: base('qwen2') })
    expect(other.fits).toEqual({
      ok: false,
      reason: expect.stringMatching(/does not fit .*another base model/),
    })
  })

  it('should know a model folder', async () => {
    const { kind, facts, fits } = await inspectPath(join(FIXTURES, 'convert/mistral/hf'), {
      base: base('mistral'),
    })
    expect(kind).toBe('hf-model')
    expect(facts).toEqual([
      ['kind', 'Hugging Face model'],
      ['files', '2'],
      ['parameters', '86.2K'],
      ['tensors', '30 BF16'],
      ['read', 'model-00001-of-00002.safetensors (not hashed) and 1 more'],
      ['remark', expect.stringMatching(/does not name its base, and this one is called "oracle mistral"/)],
    ])
    expect(fits?.ok).toBe(true)
  })

  it('should describe an adapter', async () => {
    const { kind, facts, fits } = await inspectPath(join(FIXTURES, 'oracles/llama/adapter-patterns'), {
      base: base('llama'),
    })
    expect(kind).toBe('peft-adapter')
    expect(Object.fromEntries(facts)).toMatchObject({
      modules: '12 (down_proj, k_proj, o_proj, q_proj)',
      rank: '2, 4, 6',
      'trained on': 'traitscope/oracle-llama',
    })
    expect(fits).toEqual({ ok: true, reason: 'all 12 modules match' })
  })

  it.each([
    ['a moved base', 'peft/pissa', 'llama', false, /PiSSA.*--residual-base/],
    ['embeddings on an untied base', 'attach/llama/adapter-embeddings', 'llama', true, /all 8 modules match/],
    [
      'embeddings of another base',
      'attach/llama/adapter-embeddings',
      'llama-wide',
      false,
      /merged|base model/,
    ],
  ])('should judge whether %s fits', async (_, adapter, model, ok, reason) => {
    const { fits } = await inspectPath(join(FIXTURES, adapter), { base: base(model) })
    expect(fits).toEqual({ ok, reason: expect.stringMatching(reason) })
  })

  it('should say whether directions were made on a base', async () => {
    const organisms = join(packageRoot, 'organisms/models')
    const directions = join(organisms, 'gemma2/directions')
    const fits = async (name: string) =>
      (await inspectPath(directions, { base: join(organisms, name, 'base.gguf') })).fits
    expect(await fits('gemma2')).toEqual({ ok: true, reason: 'it was made on this very file' })
    expect(await fits('qwen2')).toMatchObject({ ok: false, reason: expect.stringMatching(/another file/) })
    const pack = await inspectPath(join(packageRoot, 'organisms/traits.yaml'), { base: base('llama') })
    expect([pack.kind, pack.fits]).toEqual(['trait-pack', undefined])
  })

  it('should refuse an empty folder', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-inspect-'))
    await expect(inspectPath(folder)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await rm(folder, { recursive: true })
  })
})
