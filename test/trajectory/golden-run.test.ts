import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Directions, directionVector } from '../../lib/directions/directions.js'
import { loadDirections, saveDirections } from '../../lib/directions/directions-folder.js'
import { extractDirections } from '../../lib/directions/extract-directions.js'
import { drift } from '../../lib/drift/drift.js'
import { norm } from '../../lib/estimators/linalg.js'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { watchRun } from '../../lib/monitor/watch-run.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import type { TraitPack } from '../../lib/prompts/trait-pack-yaml.js'
import { measureRun } from '../../lib/trajectory/measure-run.js'
import type { Step, Trajectory } from '../../lib/trajectory/trajectory.js'
import { relativeL2, TINY, TINY_BASE, TINY_PACK, TINY_RUN } from '../helpers/tiny.js'

// Oracle: the reference protocol in float32 with transformers and peft on the same run
// (lab/golden_trajectory.py).
const LAYERS = [1, 2, 3]
interface Golden {
  trait_order: string[]
  step0_activation_norm: Record<string, number>
  trajectory: { step: Step; projections: Record<string, Record<string, number>> }[]
}
const golden: Golden = JSON.parse(readFileSync(join(TINY, 'golden/trajectory.json'), 'utf8'))

let folder: string
let model: Model
let pack: TraitPack
let directions: Directions
let trajectory: Trajectory
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-golden-'))
  model = await openModel(TINY_BASE, { threads: 1 })
  pack = await loadTraitPack(TINY_PACK)
  directions = await extractDirections(model, pack, { layers: LAYERS })
  trajectory = await measureRun(model, directions, TINY_RUN, { pack, cacheDir: join(folder, 'cache') })
})
afterAll(async () => {
  await model?.close()
  await rm(folder, { recursive: true, force: true })
})

const goldenDrift = (step: Step, layer: number): number[] => {
  const at = (wanted: Step) => golden.trajectory.find((entry) => entry.step === wanted)!.projections[layer]!
  return golden.trait_order.map(
    (trait) => (at(step)[trait]! - at(0)[trait]!) / golden.step0_activation_norm[layer]!,
  )
}

describe('extractDirections on a trained model', () => {
  it('should equal the reference directions', async () => {
    const file = await readSafetensors(join(TINY, 'golden/directions.safetensors'))
    expect(directions.traits).toEqual(golden.trait_order)
    let worst = 0
    for (const [l, layer] of LAYERS.entries()) {
      for (const [t, trait] of directions.traits.entries()) {
        const expected = file.float32(`layer_${layer}.${trait}`)
        worst = Math.max(worst, relativeL2(directionVector(directions, l, t), expected))
      }
    }
    console.info(`directions: largest relative L2 to the reference ${worst.toExponential(1)}`)
    expect(worst).toBeLessThan(1e-4)
  })

  it('should survive its folder', async () => {
    await saveDirections(directions, join(folder, 'directions'))
    expect(await loadDirections(join(folder, 'directions'))).toEqual(directions)
  })
})

describe('measureRun on a trained run', () => {
  it('should find the steps and count the final adapter once', () => {
    expect(trajectory.steps.map(({ step }) => step)).toEqual([0, 10, 20, 30, 40, 50, 60])
    expect(trajectory.finalAliasOf).toBe(60)
    expect(trajectory.skipped).toEqual([])
    expect(trajectory.steps.at(-1)).toMatchObject({ adapter: { targets: ['q_proj', 'v_proj'], ranks: [16] } })
  })

  it('should equal the reference projections to 1e-4 of the step-0 norm and its drift to 1e-3', () => {
    let [worstProjection, worstDrift] = [0, 0]
    for (const [l, layer] of LAYERS.entries()) {
      const { projections, step0ActivationNorm } = trajectory.layers[l]!
      const expectedNorm = golden.step0_activation_norm[layer]!
      expect(Math.abs(step0ActivationNorm / expectedNorm - 1)).toBeLessThan(1e-5)
      for (const [i, { step, values }] of drift(trajectory, { layer }).entries()) {
        const reference = golden.trajectory.find((entry) => entry.step === step)!.projections[layer]!
        for (const [t, trait] of trajectory.traits.entries()) {
          const error = Math.abs(projections[i]![t]! - reference[trait]!) / expectedNorm
          worstProjection = Math.max(worstProjection, error)
        }
        if (step === 0) continue
        const expected = goldenDrift(step, layer)
        worstDrift = Math.max(
          worstDrift,
          norm(values.map((value, t) => value - expected[t]!)) / norm(expected),
        )
      }
    }
    console.info(
      `projections within ${worstProjection.toExponential(1)} N, drift within ${worstDrift.toExponential(1)}`,
    )
    expect(worstProjection).toBeLessThan(1e-4)
    expect(worstDrift).toBeLessThan(1e-3)
  })

  it('should keep the norms of the weight changes, block by block, q before v', () => {
    const text = readFileSync(join(TINY, 'golden/norms.json'), 'utf8')
    const expected = JSON.parse(text) as Record<string, { deltaNorm: number; deltaNorms: number[] }>
    const measured = trajectory.steps.filter(({ step }) => step !== 0)
    expect(measured.map(({ step }) => String(step))).toEqual(Object.keys(expected))
    for (const { step, adapter } of measured) {
      const { deltaNorm, deltaNorms } = expected[step]!
      expect(adapter!.deltaNorm! / deltaNorm).toBeCloseTo(1, 12)
      expect(adapter!.deltaNorms).toHaveLength(8)
      for (const [i, value] of adapter!.deltaNorms!.entries())
        expect(value / deltaNorms[i]!).toBeCloseTo(1, 12)
    }
  })

  it('should say how far each checkpoint moves the states', () => {
    const moved = trajectory.steps.slice(1).map(({ stateChange }) => stateChange!)
    for (const [l] of LAYERS.entries()) {
      const path = moved.map((change) => change[l]!)
      expect(path).toEqual([...path].sort((a, b) => a - b))
      expect(path[0]).toBeGreaterThan(1e-3)
    }
    expect(trajectory.steps[0]).not.toHaveProperty('stateChange')
  })

  it('should give the same numbers again, from the cache and from a watch', async () => {
    const again = await measureRun(model, directions, TINY_RUN, { pack, cacheDir: join(folder, 'cache') })
    expect(again).toEqual(trajectory)
    const events = []
    const options = { pack, once: true, cacheDir: join(folder, 'cache') }
    for await (const event of watchRun(model, directions, TINY_RUN, options)) events.push(event)
    expect(events[0]).toMatchObject({ type: 'baseline', cached: true })
    const drifts = events.flatMap((event) => (event.type === 'checkpoint' ? [event.drift[2]] : []))
    expect(drifts).toEqual(drift(trajectory, { layer: 3 }).slice(1))
    expect(events.at(-1)).toMatchObject({ type: 'end', measured: 6, finalAliasOf: 60 })
  })
})
