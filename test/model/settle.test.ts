import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadPrior } from '../../lib/detector/prior.js'
import { trajectoryPrior } from '../../lib/detector/prior-detector.js'
import { settlingIn } from '../../lib/detector/settling-in.js'
import { trajectoryVerdicts } from '../../lib/detector/trajectory-verdicts.js'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { drift } from '../../lib/drift/drift.js'
import { openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { measureRun } from '../../lib/trajectory/measure-run.js'

const organisms = (path: string) => join(packageRoot, 'organisms', path)
const name = readdirSync(organisms('checkpoints'))[0]!

describe('stopping over prompts on a model', () => {
  it('should give the alarms of all prompts by fewer of them', async () => {
    const prior = await loadPrior()
    const pack = await loadTraitPack(organisms('traits.yaml'))
    const directions = await loadDirections(organisms(`models/${name}/directions`))
    await using model = await openModel(organisms(`models/${name}/base.gguf`))
    const run = organisms(`checkpoints/${name}/risky_financial/seed_42`)
    const options = { pack, cacheDir: false } as const
    const whole = await measureRun(model, directions, run, options)
    const by = trajectoryPrior(prior, directions, whole)
    const settled = await measureRun(model, directions, run, {
      ...options,
      settle: (base) => settlingIn(base, by, 0.01),
    })
    const verdicts = [whole, settled].map((one) => trajectoryVerdicts(by, one).map(({ verdict }) => verdict))
    const alarms = verdicts.map((each) => each.map(({ verdict }) => verdict === 'alarm'))
    expect(alarms[1]).toEqual(alarms[0])
    expect(alarms[0]!.filter(Boolean).length).toBeGreaterThan(5)
    const { read, prompts } = settled.measurement!.settle!
    expect(read / prompts).toBeLessThan(0.75)

    for (const [i, { settled: stop, tokens }] of settled.steps.entries()) {
      const [at, all] = [drift(settled)[i]!, drift(whole)[i]!]
      const apart = Math.hypot(...at.values.map((value, t) => value - all.values[t]!))
      // What was read whole is the same but for the order of float32 sums in another batch.
      if (stop === undefined) expect(apart).toBeLessThan(1e-5)
      else {
        expect(apart).toBeLessThan(0.3 * all.norm)
        expect(tokens!.total).toBeLessThan(whole.steps[i]!.tokens!.total)
        expect(verdicts[1]![i]!.interval).toBeNull()
      }
    }
    // Of another threshold nothing was settled.
    const other = trajectoryPrior(prior.at(0.1), directions, settled)
    for (const [i, { verdict }] of trajectoryVerdicts(other, settled).entries()) {
      if (settled.steps[i]!.settled === undefined) expect(verdict.verdict).not.toBe('not-comparable')
      else expect(verdict.reasons).toEqual([expect.stringMatching(/verdict of another detector was settled/)])
    }
  })
})
