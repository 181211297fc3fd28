import { describe, expect, it } from 'vitest'
import { cells } from '../../bin/watch-text.js'

describe('cells', () => {
  const names = ['length', 'EM %', 'interval', 'verdict']

  it('should line up under the names, the widest rates too', () => {
    for (const texts of [
      ['0.1336', '2.5', '1.4-4.0', 'ok'],
      ['0.1460', '100.0', '100.0-100.0', 'alarm'],
    ])
      expect(cells(texts, names)).toHaveLength(cells(names, names).length)
  })

  it('should keep apart what is wider than its column', () => {
    const texts = ['-123.4567', '100.0', '95.5-100.0', 'not-comparable']
    expect(cells(texts, names).trim().split(/\s+/)).toEqual(texts)
  })
})
