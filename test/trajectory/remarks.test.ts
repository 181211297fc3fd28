import { describe, expect, it } from 'vitest'
import { equalWeights, otherSettings, remarksOf } from '../../lib/trajectory/remarks.js'
import type { Trajectory, TrajectoryStep } from '../../lib/trajectory/trajectory.js'

const step = (at: TrajectoryStep['step'], ...remarks: string[]): TrajectoryStep => ({
  step: at,
  adapterSha256: null,
  ...(remarks.length > 0 ? { remarks } : {}),
})
const of = (steps: TrajectoryStep[], remarks?: string[]) =>
  remarksOf({ steps, measurement: remarks && { remarks } } as Trajectory)

describe('remarksOf', () => {
  it('should say what holds for the run first, and name steps unless a sentence holds for all', () => {
    expect(of([step(0), step(10, 'a', 'b'), step(20, 'a'), step('final', 'a')], ['whole'])).toEqual([
      'whole',
      'a',
      'step 10: b',
    ])
    expect(of([step(0), step(10, 'b'), step(20), step('final', 'b')], [])).toEqual(['step 10, final: b'])
  })

  it('should have nothing to say of a run that was measured as it should, or in an older version', () => {
    expect(of([step(0), step(10)], [])).toEqual([])
    expect(of([step(0), step(10)])).toEqual([])
  })
})

describe('remarks on thousands of steps', () => {
  const steps = Array.from({ length: 4000 }, (_, i) => ({
    ...step(10 * (i + 1)),
    adapterSha256: 'same',
    adapter: { ranks: [i < 2000 ? 8 : 16], scales: [2], targets: ['q_proj'] },
  })) as unknown as TrajectoryStep[]

  it('should name the first ones, and how many share their weights with them', () => {
    expect(equalWeights(steps)).toEqual([
      'steps 10, 20, 30, 40, 50, 60, 70, 80, 90, 100 and 3990 more have the same weights',
    ])
  })

  it('should say each setting once, with the steps that have it', () => {
    expect(otherSettings(steps)).toEqual([
      expect.stringMatching(
        /^the adapters of this run differ in their ranks: 8 at steps 10, 20, .* and 1990 more; 16 at steps 20010, .* and 1990 more$/,
      ),
    ])
  })
})
