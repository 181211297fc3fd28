import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { checkpointsOf } from '../../lib/detector/checkpoints.js'
import { scanLabelledRuns } from '../../lib/detector/runs.js'
import { drift } from '../../lib/drift/drift.js'
import { STEPS, SyntheticRuns } from './synthetic.js'

const root = mkdtempSync(join(tmpdir(), 'traitscope-checkpoints-'))
afterAll(() => rmSync(root, { recursive: true }))
const folder = new SyntheticRuns(root).write({ dataset: 'gsm8k', seed: 42, peak: 0.1 })
const norms = Object.fromEntries(STEPS.map((step) => [step, [step / 10, [step / 20, 1]]]))
const read = async (layer?: number) => checkpointsOf((await scanLabelledRuns(root)).runs, layer)

describe('checkpointsOf', () => {
  it('should gather drift, activation drift and step 0 at the layer that is asked for', async () => {
    const { checkpoints, layer, traits } = await read(3)
    const [run] = (await scanLabelledRuns(root)).runs
    expect(layer).toBe(3)
    expect(traits).toHaveLength(7)
    expect(checkpoints.map(({ row }) => row.step)).toEqual(STEPS)
    expect(checkpoints[0]!.drift).toEqual(drift(run!.trajectory, { layer: 3 })[1]!.values)
    // The synthetic activations are step / 100 everywhere, the norm is 8.
    expect([...checkpoints[0]!.activation!]).toEqual(new Array(16).fill(expect.closeTo(0.1 / 8, 7)))
    expect([...checkpoints[0]!.origin!]).toEqual(new Array(16).fill(0))
    expect(checkpoints[0]!.norm).toBe(8)
    expect(checkpoints[0]!.lora).toBeNull()
  })

  it('should take the primary layer by default and refuse one that was not measured', async () => {
    expect((await read()).layer).toBe(1)
    await expect(read(2)).rejects.toMatchObject({ code: 'NOT_COMPARABLE' })
  })

  it('should read the norms of the adapters, plain or gzipped', async () => {
    writeFileSync(join(folder, 'lora_norms.json.gz'), gzipSync(JSON.stringify(norms)))
    const { checkpoints } = await read()
    expect(checkpoints[0]!.lora).toEqual({ total: 1, perMatrix: [0.5, 1] })
    expect(checkpoints.at(-1)!.lora!.total).toBe(12.6)
  })

  it.each([
    ['no list', { 10: 1 }],
    ['text', { 10: ['a', []] }],
    ['a step that is none', { last: [1, [1]] }],
  ])('should refuse norms with %s', async (_, json) => {
    writeFileSync(join(folder, 'lora_norms.json'), JSON.stringify(json))
    await expect(read()).rejects.toMatchObject({ code: 'FILE_INVALID' })
  })
})
