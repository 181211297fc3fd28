import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dot } from '../../lib/estimators/linalg.js'
import { type Matrix, matrixFromRows, row } from '../../lib/estimators/matrix.js'
import { svd } from '../../lib/estimators/svd.js'
import { uniform } from './golden.js'

function reconstruct(x: Matrix) {
  const { left, values, right } = svd(x)
  let worst = 0
  for (let r = 0; r < x.rows; r++) {
    for (let c = 0; c < x.cols; c++) {
      let sum = 0
      for (let i = 0; i < values.length; i++) {
        sum += left.data[i * x.rows + r]! * values[i]! * right.data[i * x.cols + c]!
      }
      worst = Math.max(worst, Math.abs(sum - x.data[r * x.cols + c]!))
    }
  }
  return { worst, left, values, right }
}

describe('svd', () => {
  it.each([
    [1, 1],
    [1, 9],
    [9, 1],
    [7, 40],
    [40, 7],
    [30, 30],
  ])('should give back a %i x %i matrix with orthonormal vectors', (rows, cols) => {
    const { worst, left, values, right } = reconstruct(uniform(rows * 100 + cols, rows, cols, 2))
    expect(worst).toBeLessThan(1e-13)
    for (const vectors of [left, right]) {
      for (let i = 0; i < vectors.rows; i++) {
        for (let j = 0; j <= i; j++) {
          expect(Math.abs(dot(row(vectors, i), row(vectors, j)) - (i === j ? 1 : 0))).toBeLessThan(1e-13)
        }
      }
    }
    for (let i = 1; i < values.length; i++) expect(values[i]).toBeLessThanOrEqual(values[i - 1]!)
  })

  it('should report a rank-deficient matrix with zero values and zero vectors', () => {
    const { worst, values, right } = reconstruct(
      matrixFromRows([
        [1, 2, 3, 4],
        [2, 4, 6, 8],
        [0, 0, 0, 0],
      ]),
    )
    expect(worst).toBeLessThan(1e-14)
    expect(values[0]).toBeCloseTo(Math.sqrt(150), 12)
    expect(values[1]!).toBeLessThan(1e-14)
    expect([...row(right, 2)]).toEqual([0, 0, 0, 0])
  })

  it('should keep small singular values accurate beside large ones', () => {
    const { values } = reconstruct(
      matrixFromRows([
        [1e8, 0, 0],
        [0, 1e-3, 0],
        [0, 0, 1],
      ]),
    )
    expect([...values]).toEqual([1e8, 1, 1e-3])
  })

  it('should reconstruct any small matrix', () => {
    const entry = fc.double({ min: -1e3, max: 1e3, noNaN: true })
    const matrix = fc
      .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }))
      .chain(([rows, cols]) =>
        fc.array(fc.array(entry, { minLength: cols, maxLength: cols }), { minLength: rows, maxLength: rows }),
      )
    fc.assert(
      fc.property(matrix, (rows) => {
        expect(reconstruct(matrixFromRows(rows)).worst).toBeLessThan(1e-10)
      }),
      { seed: 1 },
    )
  })
})
