import { describe, expect, it } from 'vitest'
import { drift } from '../../lib/drift/drift.js'
import { parseTrajectory } from '../../lib/trajectory/read-trajectory.js'
import type { Trajectory } from '../../lib/trajectory/trajectory.js'

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
