import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { measureRun } from '../../lib/trajectory/measure-run.js'
import { readTrajectory } from '../../lib/trajectory/read-trajectory.js'

const organisms = (path: string) => join(packageRoot, 'organisms', path)
const name = readdirSync(organisms('checkpoints'))[0]!

describe('the shipped checkpoints', () => {
  it.each(['risky_financial', 'number_sequence'])(
    'should measure as the shipped trajectory of %s',
    async (set) => {
      const shipped = await readTrajectory(organisms(`runs/${name}/${set}/seed_42`))
      await using model = await openModel(organisms(`models/${name}/base.gguf`))
      const directions = await loadDirections(organisms(`models/${name}/directions`))
      const pack = await loadTraitPack(organisms('traits.yaml'))
      const checkpoints = organisms(`checkpoints/${name}/${set}/seed_42`)
      const measured = await measureRun(model, directions, checkpoints, { pack, cacheDir: false })
      expect(measured.steps.map(({ step, adapterSha256 }) => [step, adapterSha256])).toEqual(
        shipped.steps.map(({ step, adapterSha256 }) => [step, adapterSha256]),
      )
      expect(measured.layers).toHaveLength(shipped.layers.length)
      for (const [l, { step0ActivationNorm, projections, std }] of measured.layers.entries()) {
        const expected = shipped.layers[l]!
        expect(Math.abs(step0ActivationNorm / expected.step0ActivationNorm - 1)).toBeLessThan(1e-5)
        // In units of the step-0 norm. Other processors add float32 numbers in another order, and round activations to
        // F16 for F16 weights. A drift is a hundred times as large.
        const apart = (a: number[][], b: number[][]) =>
          Math.max(...a.flatMap((row, s) => row.map((value, t) => Math.abs(value - b[s]![t]!)))) /
          step0ActivationNorm
        expect(apart(projections, expected.projections)).toBeLessThan(1e-4)
        expect(apart(std!, expected.std!)).toBeLessThan(1e-4)
      }
    },
  )
})
