import { describe, expect, it } from 'vitest'
import { foldsOf } from '../../lib/calibration/cross-validation.js'
import type { Row } from '../../lib/runs/rows.js'

const rowsOf = (datasets: readonly string[]): Row[] =>
  datasets.flatMap((dataset) => [{ dataset }, { dataset }] as Row[])

describe('foldsOf', () => {
  it('should hold out every set alone while they are few', () => {
    expect(foldsOf(rowsOf(['c', 'a', 'b']), 'dataset')).toEqual([['c'], ['a'], ['b']])
  })

  it('should deal many sets out into eight folds, each set in one', () => {
    const names = Array.from({ length: 20 }, (_, i) => `set${i}`)
    const folds = foldsOf(rowsOf(names), 'dataset')
    expect(folds).toHaveLength(8)
    expect(folds[0]).toEqual(['set0', 'set8', 'set16'])
    expect(folds.flat().sort()).toEqual([...names].sort())
  })
})
