import { describe, expect, it } from 'vitest'
import { largestEigenvalue } from '../../lib/estimators/largest-eigenvalue.js'
import { gram } from '../../lib/estimators/linalg.js'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { svd } from '../../lib/estimators/svd.js'
import { uniform } from './golden.js'

const square = (rows: number[][]) => largestEigenvalue(matrixFromRows(rows))

describe('largestEigenvalue', () => {
  it.each([
    [1, 3],
    [2, 5],
    [7, 7],
    [40, 9],
    [115, 128],
  ])('should be the square of the largest singular value of %i x %i numbers', (rows, cols) => {
    const x = uniform(rows, rows, cols, 1)
    const expected = svd(x).values[0]! ** 2
    expect(Math.abs(largestEigenvalue(gram(x)) / expected - 1)).toBeLessThan(1e-13)
  })

  it('should take what is diagonal, zero, negative or twice there', () => {
    expect(square([[3]])).toBe(3)
    expect(square([[-3]])).toBe(-3)
    expect(
      square([
        [0, 0],
        [0, 0],
      ]),
    ).toBe(0)
    expect(
      square([
        [2, 0, 0],
        [0, 2, 0],
        [0, 0, 1],
      ]),
    ).toBeCloseTo(2, 14)
    expect(
      square([
        [0, 1],
        [1, 0],
      ]),
    ).toBeCloseTo(1, 14)
    expect(
      square([
        [-1, 0, 0],
        [0, -4, 0],
        [0, 0, -2],
      ]),
    ).toBeCloseTo(-1, 14)
  })
})
