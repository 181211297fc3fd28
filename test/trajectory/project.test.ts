import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { activationNorm, project, projectGroups } from '../../lib/trajectory/project.js'
import { relativeError, uniform } from '../estimators/golden.js'

describe('projectGroups', () => {
  it('should give the means of rows that follow each other, whose weighted mean is that of all', () => {
    const states = matrixFromRows([
      [1, 2],
      [3, 6],
      [5, 1],
    ])
    const directions = matrixFromRows([
      [1, 0],
      [0, -1],
    ])
    const [two, one] = projectGroups(states, directions, [2, 1])
    expect([two, one]).toEqual([
      [2, -4],
      [5, -1],
    ])
    const all = project(states, directions).mean
    expect([0, 1].map((t) => (2 * two![t]! + one![t]!) / 3)).toEqual(all)
    expect(() => projectGroups(states, directions, [2, 0])).toThrow(
      expect.objectContaining({ code: 'SHAPE' }),
    )
  })
})

describe('project', () => {
  it('should give mean and ddof-1 deviation over prompts per direction', () => {
    const states = matrixFromRows([
      [1, 2],
      [3, 6],
      [5, 1],
    ])
    const directions = matrixFromRows([
      [1, 0],
      [0, -1],
    ])
    expect(project(states, directions)).toEqual({ mean: [3, -3], std: [2, Math.sqrt(7)] })
  })

  it('should be linear in the states', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 31 }),
        fc.double({ min: -8, max: 8, noNaN: true }),
        (seed, factor) => {
          const states = uniform(seed, 5, 6, 2)
          const directions = uniform(seed + 1, 3, 6, 1)
          const scaled = { ...states, data: states.data.map((value) => value * factor) }
          const once = project(states, directions)
          const { mean, std } = project(scaled, directions)
          for (const [t, value] of mean.entries()) {
            expect(value).toBeCloseTo(factor * once.mean[t]!, 10)
            expect(std[t]).toBeCloseTo(Math.abs(factor) * once.std[t]!, 10)
          }
        },
      ),
      { seed: 1 },
    )
  })

  it('should equal the float64 sum also for float32 states of large magnitude', () => {
    const states = uniform(4, 20, 512, 4e4)
    const float32 = { ...states, data: Float32Array.from(states.data) }
    const directions = uniform(5, 2, 512, 1)
    const exact = project({ ...states, data: Float64Array.from(float32.data) }, directions)
    expect(relativeError(project(float32, directions).mean, exact.mean)).toBe(0)
  })

  it('should have no spread for a single prompt', () => {
    expect(project(matrixFromRows([[2, 1]]), matrixFromRows([[1, 0]]))).toEqual({ mean: [2], std: [0] })
  })

  it('should refuse other widths and empty input', () => {
    for (const states of [uniform(1, 2, 3, 1), uniform(1, 0, 4, 1)]) {
      expect(() => project(states, uniform(2, 1, 4, 1))).toThrowError(
        expect.objectContaining({ code: 'SHAPE' }),
      )
    }
  })
})

describe('activationNorm', () => {
  it('should be the mean of norms, not the norm of the mean', () => {
    expect(
      activationNorm(
        matrixFromRows([
          [3, 4],
          [-3, -4],
        ]),
      ),
    ).toBe(5)
  })
})
