import { describe, expect, it } from 'vitest'
import { Mt19937 } from '../../lib/estimators/mt19937.js'
import { golden } from './golden.js'

interface Case {
  seed: number
  rand: number[]
  randn: number[]
  permutation10: number[]
  permutation300: number[]
  randint: Record<string, number[]>
}

describe('Mt19937', () => {
  describe.each(golden<Case[]>('mt19937'))('seed $seed', (expected) => {
    it('should draw the doubles of RandomState.rand, across refills', () => {
      const random = new Mt19937(expected.seed)
      const drawn = Array.from({ length: 700 }, () => random.rand())
      expect([0, 1, 2, 311, 312, 699].map((i) => drawn[i])).toEqual(expected.rand)
    })

    it('should draw the normal numbers of RandomState.randn', () => {
      const random = new Mt19937(expected.seed)
      expect(expected.randn.map(() => random.randn())).toEqual(expected.randn)
    })

    it('should shuffle as RandomState.permutation', () => {
      expect([...new Mt19937(expected.seed).permutation(10)]).toEqual(expected.permutation10)
      expect([...new Mt19937(expected.seed).permutation(300)]).toEqual(expected.permutation300)
    })

    it('should draw the integers of RandomState.randint', () => {
      for (const [n, values] of Object.entries(expected.randint)) {
        const random = new Mt19937(expected.seed)
        expect(values.map(() => random.randint(Number(n)))).toEqual(values)
      }
    })
  })

  it.each([-1, 0.5, 2 ** 32, Number.NaN])('should refuse seed %s', (seed) => {
    expect(() => new Mt19937(seed)).toThrowError(expect.objectContaining({ code: 'USAGE' }))
  })

  it.each([0, -1, 1.5, 2 ** 32 + 1])('should refuse randint(%s)', (n) => {
    expect(() => new Mt19937(1).randint(n)).toThrowError(expect.objectContaining({ code: 'USAGE' }))
  })
})
