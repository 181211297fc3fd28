import { describe, expect, it } from 'vitest'
import { stratifiedKFold } from '../../lib/estimators/k-fold.js'
import { golden } from './golden.js'

describe('stratifiedKFold', () => {
  it.each(golden<{ name: string; labels: number[]; test: number[][] }[]>('folds'))(
    'should deal the rows of "$name" as scikit-learn does',
    ({ labels, test }) => {
      const folds = stratifiedKFold(labels, 5, 42)
      expect(folds.map((fold) => [...fold.test])).toEqual(test)
      for (const { train, test: held } of folds) {
        expect([...train, ...held].sort((a, b) => a - b)).toEqual(labels.map((_, i) => i))
      }
    },
  )

  it('should refuse a class with fewer rows than folds by name', () => {
    expect(() => stratifiedKFold([0, 0, 0, 0, 0, 7, 7], 5)).toThrowError(/class 7 has 2/)
  })
})
