import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { activationDrift, cohensD, drift } from '../../lib/drift/drift.js'
import { norm } from '../../lib/estimators/linalg.js'
import { columnMeans } from '../../lib/estimators/matrix.js'
import { project } from '../../lib/trajectory/project.js'
import { parseTrajectory } from '../../lib/trajectory/read-trajectory.js'
import type { Trajectory } from '../../lib/trajectory/trajectory.js'
import { relativeError, uniform } from '../estimators/golden.js'

const trajectory = (): Trajectory => ({
  ...parseTrajectory(
    {
      step0_activation_norm: 2,
      measurement_layer: 7,
      trajectory: [
        { step: 0, projections: { honesty: 1, warmth: -1 } },
        { step: 10, projections: { honesty: 7, warmth: -9 } },
        { step: 'final', projections: { honesty: 1, warmth: 4 } },
      ],
    },
    'test',
  ),
})

describe('drift', () => {
  it('should be the change since step 0 in shares of the step-0 norm', () => {
    expect(drift(trajectory())).toEqual([
      { step: 0, values: [0, 0], norm: 0 },
      { step: 10, values: [3, -4], norm: 5 },
      { step: 'final', values: [0, 2.5], norm: 2.5 },
    ])
  })

  it('should take the layer that is asked for, and refuse one that was not measured', () => {
    expect(drift(trajectory(), { layer: 7 })).toEqual(drift(trajectory()))
    expect(() => drift(trajectory(), { layer: 8 })).toThrowError(
      expect.objectContaining({ code: 'NOT_COMPARABLE', message: expect.stringContaining('layer 7') }),
    )
  })
})

describe('drift at another strength', () => {
  it('should be that of its own projections, and refuse a strength that was not measured', () => {
    const plain = trajectory()
    const layers = plain.layers.map((layer) => ({
      ...layer,
      projections: [
        [1, -1],
        [13, -17],
        [1, 9],
      ],
    }))
    const amplified = { ...plain, strengths: [{ strength: 2, layers, stateChange: [[0], [1], [1]] }] }
    expect(drift(amplified, { strength: 2 })[1]).toEqual({ step: 10, values: [6, -8], norm: 10 })
    expect(drift(amplified)).toEqual(drift(plain))
    expect(() => drift(amplified, { strength: 3 })).toThrowError(
      expect.objectContaining({ code: 'NOT_COMPARABLE', message: expect.stringContaining('strength 1, 2') }),
    )
  })
})

describe('activationDrift', () => {
  it('should project onto the trait drift', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const before = uniform(seed, 6, 9, 4)
        const after = uniform(seed + 1, 6, 9, 4)
        const directions = uniform(seed + 2, 3, 9, 1)
        const whole = activationDrift(after, before, 8.5)
        const [moved, from] = [project(after, directions), project(before, directions)]
        const expected = moved.mean.map((value, t) => (value - from.mean[t]!) / 8.5)
        const projected = project({ data: whole, rows: 1, cols: 9 }, directions).mean
        expect(relativeError(projected, expected)).toBeLessThan(1e-10)
      }),
      { seed: 1 },
    )
  })

  it('should be the difference of means over the norm', () => {
    const before = uniform(1, 4, 3, 2)
    const after = { ...before, data: before.data.map((value) => value + 1) }
    expect(norm(activationDrift(after, before, 2))).toBeCloseTo(Math.sqrt(3) / 2, 14)
    expect(columnMeans(before).length).toBe(3)
    expect(() => activationDrift(uniform(1, 5, 3, 1), before, 1)).toThrowError(/5 x 3 and 4 x 3/)
  })
})

describe('cohensD', () => {
  it('should measure the change in pooled deviations', () => {
    const measured = trajectory()
    measured.layers[0]!.std = [
      [3, 0],
      [4, 0],
      [1, 0],
    ]
    expect(cohensD(measured)).toEqual([
      { step: 0, values: [0, 0] },
      { step: 10, values: [6 / Math.sqrt(12.5), Number.NEGATIVE_INFINITY] },
      { step: 'final', values: [0, Number.POSITIVE_INFINITY] },
    ])
  })

  it('should say when a file has no deviations', () => {
    expect(() => cohensD(trajectory())).toThrowError(expect.objectContaining({ code: 'NOT_COMPARABLE' }))
  })
})
