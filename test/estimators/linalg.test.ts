import { describe, expect, it } from 'vitest'
import { cholesky, choleskySolve, cosine, dot, gram, norm } from '../../lib/estimators/linalg.js'
import { columnMeans, matrixFromRows, selectRows } from '../../lib/estimators/matrix.js'
import { relativeError, uniform } from './golden.js'

describe('dot', () => {
  it('should accumulate in float64, whatever the input holds', () => {
    const ones = new Float32Array(20_000_003).fill(1)
    expect(dot(ones, ones)).toBe(20_000_003) // a float32 sum stops at 2^24
    expect(dot([], [])).toBe(0)
  })

  it('should agree with norm and cosine', () => {
    expect(norm([3, 4])).toBe(5)
    expect(cosine([1, 1], [-2, -2])).toBeCloseTo(-1, 15)
    expect(cosine([0, 1], [1, 0])).toBe(0)
    expect(cosine([0, 0], [1, 0])).toBeNaN()
  })
})

describe('gram', () => {
  it('should hold every dot product of two rows', () => {
    const x = matrixFromRows([
      [1, 2, 3],
      [4, 5, 6],
    ])
    expect([...gram(x).data]).toEqual([14, 32, 32, 77])
    expect([...gram({ ...x, data: Float32Array.from(x.data) }).data]).toEqual([14, 32, 32, 77])
  })
})

describe('cholesky', () => {
  it('should solve a symmetric positive definite system', () => {
    const n = 12
    const { data } = gram(uniform(5, n, 30, 1))
    const solution = Float64Array.from({ length: n }, (_, i) => i - 4)
    const b = Float64Array.from({ length: n }, (_, i) => dot(data.subarray(i * n, (i + 1) * n), solution))
    const factor = data.slice()
    expect(cholesky(factor, n)).toBe(true)
    expect(relativeError(choleskySolve(factor, n, b), solution)).toBeLessThan(1e-11)
  })

  it('should report a matrix that is not positive definite', () => {
    expect(cholesky(Float64Array.of(1, 2, 2, 1), 2)).toBe(false)
    expect(cholesky(Float64Array.of(Number.NaN), 1)).toBe(false)
  })
})

describe('matrixFromRows', () => {
  it('should refuse ragged rows', () => {
    expect(() => matrixFromRows([[1, 2], [3]])).toThrowError(/row 1 has 1/)
  })
})

describe('selectRows', () => {
  it('should copy the named rows in the given order', () => {
    const x = matrixFromRows([
      [1, 2],
      [3, 4],
      [5, 6],
    ])
    expect([...selectRows(x, [2, 0]).data]).toEqual([5, 6, 1, 2])
    expect([...columnMeans(x)]).toEqual([3, 4])
  })
})
