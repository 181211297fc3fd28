import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hiddenStates } from '../../../lib/hidden-states/hidden-states.js'
import { openCheckpoint } from '../../../lib/model/checkpoint/open-checkpoint.js'
import type { OpenCheckpointOptions } from '../../../lib/model/checkpoint/opened-checkpoint.js'
import { mergeAdapter } from '../../../lib/model/merge/merge.js'
import { type Model, openModel } from '../../../lib/model/model.js'
import { copyAsDora } from '../../helpers/dora.js'
import { isMapped } from '../../helpers/mapped.js'
import { quantized } from '../../helpers/quantized.js'
import { copyWithEmbedding } from '../../helpers/saved-embedding.js'
import { relativeL2, TINY_BASE, TINY_RUN } from '../../helpers/tiny.js'

const PLAIN = join(TINY_RUN, 'checkpoint-60')
const PROMPT = Int32Array.of(1, 9, 4, 30, 12)

let base: Model
let folder: string
let cacheDir: string
let dora: string
beforeAll(async () => {
  base = await openModel(TINY_BASE, { threads: 1 })
})
afterAll(() => base?.close())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-open-'))
  cacheDir = join(folder, 'cache')
  dora = await copyAsDora(PLAIN, join(folder, 'dora'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function open(adapter: string, options: OpenCheckpointOptions = {}) {
  await using checkpoint = await openCheckpoint(base, adapter, { cacheDir, ...options })
  const { model, how, reason, report } = checkpoint
  const layers = [0, 1, 2, 3]
  const { data } = await hiddenStates(model, [PROMPT], { layers, adapter: checkpoint.adapter })
  return { how, reason, report, data, path: model.path }
}

describe('openCheckpoint', () => {
  it('should attach what can be attached, and merge it when asked, to the same states', async () => {
    const attached = await open(PLAIN)
    expect(attached).toMatchObject({ how: 'attach', reason: undefined })
    const merged = await open(PLAIN, { mode: 'merge' })
    expect(merged).toMatchObject({ how: 'merge', reason: 'merging was asked for' })
    expect(relativeL2(merged.data, attached.data)).toBeLessThan(1e-5)
    expect(merged.report).toEqual(attached.report)
    const half = { strength: 0.5 }
    const [x, y] = [await open(PLAIN, half), await open(PLAIN, { ...half, mode: 'merge' })]
    expect(relativeL2(y.data, x.data)).toBeLessThan(1e-5)
    expect(relativeL2(y.data, merged.data)).toBeGreaterThan(1e-3)
  })

  it('should open the copy as the base was opened, in every respect', async () => {
    const options = { gpuLayers: 0, threads: 2, batchTokens: 300, mmap: false, repack: false }
    await using unmapped = await openModel(TINY_BASE, options)
    expect(unmapped.options).toMatchObject(options)
    for (const cache of [{ cacheDir }, {}]) {
      await using merged = await openCheckpoint(unmapped, PLAIN, { mode: 'merge', ...cache })
      expect(merged.model.options).toMatchObject(options)
      expect(await isMapped(merged.model.path)).toBe(false)
    }
    await using merged = await openCheckpoint(base, PLAIN, { mode: 'merge', cacheDir })
    expect(merged.model.options).toEqual(base.options)
    expect(await isMapped(merged.model.path)).toBe(process.platform === 'linux' && base.device === 'cpu')
  })

  it('should merge what cannot be attached, and say why', async () => {
    const { how, reason, data } = await open(dora)
    expect([how, reason]).toEqual(['merge', expect.stringMatching(/is DoRA/)])
    const out = join(folder, 'merged.gguf')
    await mergeAdapter(TINY_BASE, dora, out)
    await using model = await openModel(out, { threads: 1 })
    const expected = await hiddenStates(model, [PROMPT], { layers: [0, 1, 2, 3] })
    expect(data).toEqual(expected.data)
    await expect(open(dora, { mode: 'attach' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/DoRA.*--lora-mode merge/),
    })
  })

  // A trainer that saves the embedding with every checkpoint saves what the quantised base has rounded.
  it.each(['Q8_0', 'Q4_0'])('should round what replaces weights of %s as the base did', async (type) => {
    const { stored } = await quantized(TINY_BASE, folder, type)
    await using rounded = await openModel(stored, { threads: 1 })
    const states = async (adapter: string) => {
      await using merged = await openCheckpoint(rounded, adapter, { mode: 'merge', cacheDir })
      const { data } = await hiddenStates(merged.model, [PROMPT], { layers: [0, 1, 2, 3] })
      return data
    }
    const without = await states(PLAIN)
    const all = await copyWithEmbedding(PLAIN, join(folder, 'all'), TINY_BASE)
    expect(await states(all)).toEqual(without)
    const rows = await copyWithEmbedding(PLAIN, join(folder, 'rows'), TINY_BASE, [9, 12, 500])
    expect(await states(rows)).toEqual(without)
    // As the trainer saved it, the embedding is another one than the base's.
    const out = join(folder, `${type}-unrounded.gguf`)
    await mergeAdapter(stored, all, out, { type: 'float' })
    await using unrounded = await openModel(out, { threads: 1 })
    const { data } = await hiddenStates(unrounded, [PROMPT], { layers: [0, 1, 2, 3] })
    expect(relativeL2(data, without)).toBeGreaterThan(4e-3)
  })

  it('should merge once, and again when the adapter, the strength or the file changed', async () => {
    const { path, data } = await open(dora)
    const written = (await stat(path)).ino
    expect((await open(dora)).data).toEqual(data)
    expect((await stat(path)).ino).toBe(written)
    expect((await open(dora, { strength: 2 })).path).not.toBe(path)
    await truncate(path, 5000)
    expect((await open(dora)).data).toEqual(data)
    expect((await readdir(cacheDir)).sort()).toHaveLength(2)
  })

  it('should keep nothing without a cache', async () => {
    const { path } = await open(dora, { cacheDir: undefined })
    await expect(stat(path)).rejects.toThrow(/ENOENT/)
  })

  it('should leave nothing behind when it cannot merge', async () => {
    const broken = await copyAsDora(PLAIN, join(folder, 'broken'))
    await truncate(join(broken, 'adapter_model.safetensors'), 3000)
    await expect(open(broken)).rejects.toMatchObject({ code: 'FILE_INCOMPLETE' })
    const signal = AbortSignal.abort()
    await expect(open(dora, { signal })).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(open(dora, { strength: Number.NaN })).rejects.toMatchObject({ code: 'USAGE' })
    expect(await readdir(cacheDir).catch(() => [])).toEqual([])
  })
})
