import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { promptScoresOf } from '../../lib/calibration/prompt-scores.js'
import { alarmScore } from '../../lib/detector/alarm-score.js'
import { PRIOR_SCORES } from '../../lib/detector/settling.js'
import { drift } from '../../lib/drift/drift.js'
import { linearScore } from '../../lib/estimators/grouped-ridge.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { MeasuredRun } from '../../lib/runs/runs.js'
import { type MeasureRunOptions, measureRun } from '../../lib/trajectory/measure-run.js'
import { linearDetector } from '../detector/linear-detector.js'
import { fakeDirections } from '../directions/fake-directions.js'
import { fakePack } from '../directions/fake-model.js'
import { attachedStates, attachingModel, writeCheckpoint } from '../trajectory/fake-run.js'

vi.mock('../../lib/hidden-states/hidden-states.js')

let folder: string
const directions = fakeDirections()
const detector = linearDetector()
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-scores-'))
  vi.mocked(hiddenStates).mockImplementation(attachedStates)
  for (const step of [10, 20]) await writeCheckpoint(join(folder, 'run'), step, step)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function measured(options: Partial<MeasureRunOptions> = {}): Promise<MeasuredRun> {
  const out = join(folder, 'measured')
  const trajectory = await measureRun(attachingModel().model, directions, join(folder, 'run'), {
    ...{ pack: fakePack(), cacheDir: false, out, force: true },
    ...options,
  })
  return { id: 'base/set/seed_1', path: out, trajectory } as unknown as MeasuredRun
}

describe('promptScoresOf', () => {
  it('should span the scores of the prompts, and a quarter more on either side', async () => {
    const run = await measured()
    // The adapter moves all prompts alike, so that of each is that of their mean.
    const scores = drift(run.trajectory, { layer: 3 })
      .slice(1)
      .map(({ values }) => linearScore(values, alarmScore(detector)))
    const span = Math.abs(scores[1]! - scores[0]!)
    const found = await promptScoresOf([run], detector, directions)
    expect(found).toEqual({
      low: expect.closeTo(Math.min(PRIOR_SCORES.low, Math.min(...scores) - span / 4), 4),
      high: expect.closeTo(Math.max(PRIOR_SCORES.high, Math.max(...scores) + span / 4), 4),
    })
    expect(Math.max(...scores) + span / 4).toBeGreaterThan(PRIOR_SCORES.high)
  })

  it('should name the run whose states were not kept', async () => {
    for (const activations of ['none', 'means'] as const) {
      expect(await promptScoresOf([await measured({ activations })], detector, directions)).toBe(
        'base/set/seed_1 was measured without the states of its prompts (--activations)',
      )
    }
  })

  it('should have nothing to say of a detector that no part of the prompts settles', async () => {
    expect(await promptScoresOf([await measured()], linearDetector(0.2), directions)).toBeUndefined()
  })
})
