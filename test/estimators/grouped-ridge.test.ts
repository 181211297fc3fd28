import { describe, expect, it } from 'vitest'
import { GroupedRidge, linearScore } from '../../lib/estimators/grouped-ridge.js'
import { type Matrix64, row, selectRows } from '../../lib/estimators/matrix.js'
import { Mt19937 } from '../../lib/estimators/mt19937.js'
import { Ridge } from '../../lib/estimators/ridge.js'
import { Standardizer } from '../../lib/estimators/standardizer.js'

const random = new Mt19937(3)
const N = 40
const P = 5
const x: Matrix64 = {
  data: Float64Array.from({ length: N * P }, (_, i) => random.randn() * (1 + (i % P))),
  ...{ rows: N, cols: P },
}
const groups = Array.from({ length: N }, (_, r) => r % 4)
const y = Float64Array.from({ length: N }, (_, r) => {
  return x.data[r * P]! - 0.3 * x.data[r * P + 2]! + 7 * groups[r]! + random.randn()
})
const rowsWhere = (is: (r: number) => boolean) => Array.from({ length: N }, (_, r) => r).filter(is)

describe('GroupedRidge', () => {
  it('should be a ridge regression on standardized features where there is one group', () => {
    const standardizer = new Standardizer().fit(x)
    const known = new Ridge({ alpha: 0.7 * N }).fit(standardizer.transform(x), y)
    const fitted = new GroupedRidge(x, y, new Array(N).fill('one'), new Int32Array(N)).fit([0.7])[0]!
    const expected = known.predict(standardizer.transform(x))
    for (let r = 0; r < N; r++) expect(linearScore(row(x, r), fitted)).toBeCloseTo(expected[r]!, 10)
  })

  it('should leave folds out as if their rows had never been', () => {
    const folds = groups.map((group) => group >> 1)
    const kept = rowsWhere((r) => folds[r] === 1)
    const without = new GroupedRidge(x, y, groups, folds).fit([0.1], [0])[0]!
    const alone = new GroupedRidge(
      selectRows(x, kept),
      kept.map((r) => y[r]!),
      kept.map((r) => groups[r]!),
      new Int32Array(kept.length),
    ).fit([0.1])[0]!
    expect(without.intercept).toBeCloseTo(alone.intercept, 10)
    for (let c = 0; c < P; c++) expect(without.weights[c]).toBeCloseTo(alone.weights[c]!, 10)
  })

  it('should fit several penalties at once, with more features than rows', () => {
    const [rows, cols] = [15, 60]
    const wide = { data: Float64Array.from({ length: rows * cols }, () => random.randn()), rows, cols }
    const target = Float64Array.from({ length: rows }, () => random.randn())
    const alphas = [0.01, 1, 100]
    const fits = new GroupedRidge(wide, target, new Array(rows).fill('one'), new Int32Array(rows)).fit(alphas)
    const standard = new Standardizer().fit(wide).transform(wide)
    for (const [i, alpha] of alphas.entries()) {
      const expected = new Ridge({ alpha: alpha * rows }).fit(standard, target).predict(standard)
      for (let r = 0; r < rows; r++) expect(linearScore(row(wide, r), fits[i]!)).toBeCloseTo(expected[r]!, 8)
    }
    const flat = new GroupedRidge(wide, new Float64Array(rows), groups.slice(0, rows), new Int32Array(rows))
    expect(flat.fit([1])[0]!.weights).toEqual(new Float64Array(cols))
  })

  it('should not learn what groups differ in', () => {
    const flat = new GroupedRidge(x, y, groups, groups).fit([1e-6])[0]!
    const moved: Matrix64 = { ...x, data: x.data.map((value, i) => value + 100 * groups[Math.floor(i / P)]!) }
    const shifted = new GroupedRidge(moved, y, groups, groups).fit([1e-6])[0]!
    for (let c = 0; c < P; c++) expect(shifted.weights[c]).toBeCloseTo(flat.weights[c]!, 8)
    expect(flat.weights[0]).toBeCloseTo(1, 0)
  })

  it('should refuse what cannot be fitted', () => {
    const ridge = new GroupedRidge(x, y, groups, groups)
    expect(() => ridge.fit([1, 0])).toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(() => ridge.fit([1], [0, 1, 2, 3])).toThrow('every fold is left out')
    const bad = { ...x, data: x.data.map((value, i) => (i === 3 ? Number.NaN : value)) }
    expect(() => new GroupedRidge(bad, y, groups, groups)).toThrow(expect.objectContaining({ code: 'SHAPE' }))
  })
})
