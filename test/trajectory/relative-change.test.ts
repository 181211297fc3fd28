import { describe, expect, it } from 'vitest'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { relativeChange } from '../../lib/trajectory/relative-change.js'

describe('relativeChange', () => {
  it('should be the length of the difference in lengths of the second', () => {
    const base = matrixFromRows([
      [3, 0],
      [0, 4],
    ])
    const moved = matrixFromRows([
      [3, 3],
      [4, 4],
    ])
    expect(relativeChange(moved, base)).toBe(1)
    expect(relativeChange(base, base)).toBe(0)
    expect(relativeChange(matrixFromRows([[0]]), matrixFromRows([[0]]))).toBe(0)
  })
})
