import { describe, expect, it } from 'vitest'
import { inPercent, percent } from '../lib/percent.js'

describe('percent', () => {
  it('should show a share with its unit, and a dash where there is none', () => {
    expect([percent(0.1234), percent(0), percent(1, 0), percent(0.00123, 2)]).toEqual([
      '12.3 %',
      '0.0 %',
      '100 %',
      '0.12 %',
    ])
    expect([percent(null), percent(undefined), percent(Number.NaN), inPercent(null)]).toEqual(
      Array(4).fill('-'),
    )
  })

  it('should leave the unit to the head of a column', () => {
    expect([inPercent(0.1234), inPercent(0.5, 0)]).toEqual(['12.3', '50'])
  })
})
