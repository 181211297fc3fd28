import { describe, expect, it } from 'vitest'
import { remarksOf } from '../../lib/trajectory/remarks.js'
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
