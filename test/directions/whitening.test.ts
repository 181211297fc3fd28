import { describe, expect, it } from 'vitest'
import { Whitening, wordingResiduals } from '../../lib/directions/whitening.js'
import { dot } from '../../lib/estimators/linalg.js'
import { matrixFromRows, row } from '../../lib/estimators/matrix.js'
import { uniform } from '../estimators/golden.js'

describe('wordingResiduals', () => {
  it('should be what each system prompt adds to its pole, over questions', () => {
    // Two questions under three system prompts, question-major: 1, 2, 6 and, in the second column, a question's offset.
    const states = matrixFromRows([
      [1, 10],
      [2, 10],
      [6, 10],
      [1, -4],
      [2, -4],
      [6, -4],
    ])
    const { data, rows, cols } = wordingResiduals(states, 3)
    expect([rows, cols]).toEqual([3, 2])
    for (const [i, expected] of [-2, 0, -1, 0, 3, 0].entries()) expect(data[i]).toBeCloseTo(expected, 14)
  })
})

describe('Whitening', () => {
  // More dimensions than residuals, and fewer.
  it.each([
    [4, 9],
    [9, 4],
  ])(
    'should invert the covariance of residuals and its shrinkage (%i residuals of %i numbers)',
    (n, cols) => {
      const residuals = uniform(3, n, cols, 2)
      const whitening = Whitening.of([residuals])!
      const shrinkage = 0.01 * residuals.data.reduce((sum, value) => sum + value * value, 0)
      const x = Float64Array.from(uniform(4, 1, cols, 1).data)
      const whitened = whitening.apply(x)
      // (RᵀR + s I) W x is x again; what comes is s W x.
      const along = Array.from({ length: n }, (_, i) => dot(row(residuals, i), whitened))
      for (let c = 0; c < cols; c++) {
        const back = along.reduce(
          (sum, value, i) => sum + value * residuals.data[i * cols + c]!,
          shrinkage * whitened[c]!,
        )
        expect(back / shrinkage).toBeCloseTo(x[c]!, 10)
      }
    },
  )

  it('should give the inner products of whitened rows', () => {
    const whitening = Whitening.of([uniform(5, 3, 6, 1), uniform(6, 2, 6, 1)])!
    const x = uniform(7, 4, 6, 1)
    const inner = whitening.gram(x)
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 4; j++) {
        const expected = dot(row(x, i), whitening.apply(Float64Array.from(row(x, j))))
        expect(inner.data[i * 4 + j]).toBeCloseTo(expected, 12)
      }
    }
  })

  it('should all but take out an axis along which wordings differ', () => {
    const whitening = Whitening.of([
      matrixFromRows([
        [-5, 0],
        [5, 0],
      ]),
    ])!
    const [along, across] = whitening.apply(Float64Array.of(1, 1))
    expect(across).toBe(1)
    expect(along).toBeCloseTo(0.01 / 1.01, 12)
  })

  it('should not be of wordings that do nothing', () => {
    expect(Whitening.of([matrixFromRows([[0, 0]])])).toBeUndefined()
  })
})
