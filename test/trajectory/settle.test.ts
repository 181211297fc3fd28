import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { drift } from '../../lib/drift/drift.js'
import { runGeometry } from '../../lib/geometry/run-geometry.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { scanMeasuredRuns } from '../../lib/runs/runs.js'
import { type MeasureRunOptions, measureRun } from '../../lib/trajectory/measure-run.js'
import { readTrajectory } from '../../lib/trajectory/read-trajectory.js'
import type { StopRule } from '../../lib/trajectory/stopping.js'
import type { Settled } from '../../lib/trajectory/trajectory.js'
import { fakeDirections } from '../directions/fake-directions.js'
import { fakePack } from '../directions/fake-model.js'
import { attachedStates, attachingModel, writeCheckpoint } from './fake-run.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
const states = vi.mocked(hiddenStates)

let folder: string
let run: string
const { model } = attachingModel()
const pack = fakePack({
  evalPrompts: [{ category: 'one', prompts: Array.from({ length: 20 }, (_, i) => `Tell me about ${i}.`) }],
})
const measure = (options: Partial<MeasureRunOptions> = {}) =>
  measureRun(model, fakeDirections(), run, { pack, cacheDir: false, ...options })

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-settle-'))
  run = join(folder, 'run')
  states.mockReset()
  states.mockImplementation(attachedStates)
  await writeCheckpoint(run, 10, 1)
  await writeCheckpoint(run, 20, 2)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** Enough after so many prompts; keeps what it was shown. */
function enoughAfter(prompts: number, sha256 = 'r'.repeat(64)) {
  const shown: (readonly number[])[][] = []
  const begin = (of: number) => {
    const drifts: (readonly number[])[] = []
    shown.push(drifts)
    return {
      take: (more: readonly (readonly number[])[]): Settled | undefined => {
        drifts.push(...more)
        if (drifts.length < prompts) return undefined
        return { side: 'above', threshold: 0.05, error: 0.01, prompts: drifts.length, of, by: 'me' }
      },
    }
  }
  const rule: StopRule = { sha256, error: 0.01, begin }
  return { shown, settle: () => rule }
}

describe('a measurement that may stop over prompts', () => {
  it('should read whole what is never settled, and come to the same', async () => {
    const whole = await measure()
    const { shown, settle } = enoughAfter(100)
    const parts = await measure({ settle })
    expect(shown.map((drifts) => drifts.length)).toEqual([18, 18])
    expect(parts.layers).toEqual(whole.layers)
    expect(parts.categories).toEqual(whole.categories)
    expect(parts.steps.map(({ tokens, ...rest }) => rest)).toEqual(
      whole.steps.map(({ tokens, ...rest }) => rest),
    )
    expect(parts.measurement!.settle).toEqual({ error: 0.01, read: 40, prompts: 40 })
    expect(whole.measurement).not.toHaveProperty('settle')
  })

  it('should show the rule the drift of every prompt that it reads, each once', async () => {
    const { shown, settle } = enoughAfter(100)
    const { layers } = await measure({ settle })
    // The adapter moves every prompt alike.
    for (const [i, drifts] of shown.entries()) {
      for (const values of drifts) {
        expect(values).toHaveLength(4)
        for (const [l, { step0ActivationNorm }] of layers.entries())
          expect(values[2 * l]! * step0ActivationNorm).toBeCloseTo(i + 1, 5)
      }
    }
  })

  it('should stop when it is settled, and tell the change of the prompts that were read', async () => {
    const whole = await measure()
    const part = await measure({ settle: enoughAfter(5).settle })
    const [zero, ten] = part.steps
    expect(zero).not.toHaveProperty('settled')
    expect(ten!.settled).toEqual({
      side: 'above',
      threshold: 0.05,
      error: 0.01,
      prompts: 5,
      of: 20,
      by: 'me',
    })
    expect(ten!.remarks).toContainEqual(expect.stringMatching(/^a part of the prompts was read/))
    expect(ten!.tokens!.total).toBeLessThan(whole.steps[1]!.tokens!.total / 3)
    expect(part.measurement!.settle).toEqual({ error: 0.01, read: 10, prompts: 40 })
    for (const [i, { values }] of drift(part).entries())
      for (const [t, value] of values.entries()) expect(value).toBeCloseTo(drift(whole)[i]!.values[t]!, 6)
    expect(part).not.toHaveProperty('categories')
    expect(part.layers[0]).not.toHaveProperty('categories')
  })

  it('should read on while a checkpoint seems to change nothing', async () => {
    let parts = 0
    // The prompts of the first two parts are not changed.
    states.mockImplementation(async (on, prompts, options) =>
      attachedStates(
        on,
        prompts,
        options.adapter && ++parts <= 2 ? { ...options, adapter: undefined } : options,
      ),
    )
    const part = await measure({ settle: enoughAfter(1).settle })
    expect(part.steps.map(({ settled }) => settled?.prompts)).toEqual([undefined, 8, 3])
  })

  it('should go on with what the same rule has read, and with nothing else', async () => {
    const out = join(folder, 'out')
    const options = { out, settle: enoughAfter(5).settle }
    const resumedUnder = async (again: Partial<MeasureRunOptions>) => {
      let passes = 0
      states.mockImplementation(async (...args) => {
        // Step 0, two parts of step 10, and then it is killed.
        if (++passes === 4) throw new Error('killed')
        return attachedStates(...args)
      })
      await expect(measure(options)).rejects.toThrow('killed')
      states.mockImplementation(attachedStates)
      const taken: unknown[] = []
      await measure({
        out,
        ...again,
        onCheckpoint: ({ step, resumed }) => void (resumed && taken.push(step)),
      })
      await rm(out, { recursive: true })
      await rm(`${out}.partial`, { recursive: true, force: true })
      return taken
    }
    expect(await resumedUnder(options)).toEqual([10])
    expect(await resumedUnder({ settle: enoughAfter(5, 's'.repeat(64)).settle })).toEqual([])
    expect(await resumedUnder({})).toEqual([])
  })

  it('should write no states, and be read back as it is; a damaged mark is refused', async () => {
    const out = join(folder, 'out')
    const measured = await measure({ out, settle: enoughAfter(5).settle })
    expect((await readdir(out)).sort()).toEqual(['run_manifest.json', 'trajectory.json'])
    expect((await readTrajectory(out)).steps).toEqual(measured.steps)
    await expect(measure({ settle: enoughAfter(5).settle, activations: 'means' })).rejects.toThrow(
      /expected activations none .* found means/,
    )
    await expect(measure({ settle: enoughAfter(5).settle, strengths: [2] })).rejects.toThrow(
      /several strengths/,
    )
  })

  it('should be no run to calibrate, evaluate or rank by', async () => {
    await measure({ out: join(folder, 'runs/base/set/seed_1'), settle: enoughAfter(5).settle })
    await expect(runGeometry(join(folder, 'runs'))).rejects.toThrow(
      /got 0 below .*; left out: base\/set\/seed_1: of step 10, 20 a part of the prompts was read/,
    )
    await measure({ out: join(folder, 'runs/base/set/seed_2') })
    const { runs, exclusions } = await scanMeasuredRuns(join(folder, 'runs'))
    expect(runs.map(({ seed }) => seed)).toEqual([2])
    expect(exclusions).toEqual([
      {
        run: 'base/set/seed_1',
        reason: expect.stringMatching(/^of step 10, 20 a part of the prompts was read .*measure it without$/),
      },
    ])
  })
})
