import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../lib/package.js'
import { digitsBeside, inPercent, percent, percentAt } from '../lib/percent.js'

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

describe('percentAt', () => {
  it.each([
    ['all digits of a limit that somebody has typed', 0.0575, undefined, '5.75 %'],
    ['no digit that rounding has put there', 0.07, undefined, '7.0 %'],
    ['four of one that was computed', 1 / 24, undefined, '4.1667 %'],
    ['a rate that one digit puts above', 0.0575, 0.05751, '5.8 %'],
    ['a rate that one digit puts below', 0.0575, 0.05749, '5.7 %'],
    ['a rate above that would round down to the limit', 0.06, 0.06004, '6.004 %'],
    ['a rate above that would round down below the limit', 0.0573, 0.05734, '5.734 %'],
    ['a rate below that would round up across the limit', 0.0577, 0.05769, '5.77 %'],
    ['a rate below a computed limit', 1 / 24, 0.04166, '4.166 %'],
    ['a rate at the limit, which is not above it', 0.0575, 0.0575, '5.75 %'],
    ['no rate', 0.0575, null, '-'],
  ])('should show %s', (_, limit, share, shown) => {
    expect(percentAt(limit, share)).toBe(shown)
  })

  it('should show a rate above its limit exactly where it is above', () => {
    const wrong: number[][] = []
    for (const limit of [0.05, 0.0575, 0.06, 0.07, 0.29, 1 / 8]) {
      for (let i = -2000; i <= 2000; i++) {
        const rate = limit + i * 1.7e-6
        const [shown, beside] = [percentAt(limit, rate), percentAt(limit)].map(Number.parseFloat)
        if (shown! > beside! !== rate > limit) wrong.push([limit, rate])
      }
    }
    expect(wrong).toEqual([])
    expect(digitsBeside(6, Number.NaN)).toBe(1)
  })

  it('should be what every limit is shown by', () => {
    const sources = ['lib', 'bin', 'page', 'scripts'].flatMap((folder) =>
      readdirSync(join(packageRoot, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(ts|mjs)$/.test(name))
        .map((name) => `${folder}/${name.replaceAll('\\', '/')}`),
    )
    const rounding = /\b(percent|inPercent)\((\w+\.)*(cut|threshold|level)\)/
    const found = sources.filter((name) => rounding.test(readFileSync(join(packageRoot, name), 'utf8')))
    expect(found).toEqual([])
  })
})
