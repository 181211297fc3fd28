import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { drift } from '../../lib/drift/drift.js'
import { labelledCheckpoints } from '../../lib/evaluation/labelled-checkpoints.js'
import { scanLabelledRuns } from '../../lib/runs/runs.js'
import { STEPS, SyntheticRuns } from '../runs/synthetic.js'

const root = mkdtempSync(join(tmpdir(), 'traitscope-checkpoints-'))
afterAll(() => rmSync(root, { recursive: true }))
new SyntheticRuns(root).write({ dataset: 'gsm8k', seed: 42, peak: 0.1 })
const read = async (layer?: number) => labelledCheckpoints((await scanLabelledRuns(root)).runs, layer)

describe('labelledCheckpoints', () => {
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

  it('should take the norms of the adapter where the measurement has them', async () => {
    const { runs } = await scanLabelledRuns(root)
    const { steps } = runs[0]!.trajectory
    const summary = {
      rank: 16,
      alpha: 64,
      modules: 2,
      targets: ['q_proj'],
      ranks: [16],
      scales: [4],
      zeroModules: 0,
    }
    steps[1]!.adapter = { ...summary, deltaNorm: 5, deltaNorms: [3, 4] }
    steps[2]!.adapter = summary
    const { checkpoints } = await labelledCheckpoints(runs)
    expect(checkpoints.slice(0, 3).map(({ lora }) => lora)).toEqual([
      { total: 5, perMatrix: [3, 4] },
      null,
      null,
    ])
  })
})
