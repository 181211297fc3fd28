import { describe, expect, it } from 'vitest'
import { MeanBet } from '../../lib/estimators/mean-bet.js'
import { Mt19937 } from '../../lib/estimators/mt19937.js'

const RANGE = { low: -0.5, high: 1.5 }
const mean = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length

/** After how many draws the evidence is there; undefined when it never is. */
function found(population: readonly number[], bound: number, error: number, random: Mt19937) {
  const bet = new MeanBet(population.length, bound, RANGE)
  for (const [i, at] of random.permutation(population.length).entries()) {
    bet.take(population[at]!)
    if (bet.pValue <= error) return i + 1
  }
  return undefined
}

/** Whose mean is the bound exactly, which is where it is easiest to err: a narrow one, a wide one, one of two values, one with few far ones. */
const POPULATIONS = {
  narrow: Array.from({ length: 115 }, (_, i) => 0.45 + 0.1 * Math.sin(i)),
  wide: Array.from({ length: 60 }, (_, i) => -0.4 + (1.8 * i) / 59),
  two: Array.from({ length: 80 }, (_, i) => (i < 20 ? 1.4 : -0.2)),
  few: Array.from({ length: 115 }, (_, i) => (i < 5 ? -0.5 : 0.6)),
}

describe('MeanBet', () => {
  for (const [name, population] of Object.entries(POPULATIONS)) {
    it(`should err at any stop in no more draws than it says: ${name}`, () => {
      const random = new Mt19937(7)
      for (const error of [0.1, 0.02]) {
        const draws = 2000
        let errors = 0
        for (let i = 0; i < draws; i++)
          if (found(population, mean(population), error, random) !== undefined) errors++
        expect(errors / draws).toBeLessThan(error + 3 * Math.sqrt((error * (1 - error)) / draws))
      }
    })
  }

  it('should need few of many that agree, and more where the mean is near', () => {
    const random = new Mt19937(3)
    const drawsFor = (bound: number) => found(POPULATIONS.narrow, bound, 0.01, random)!
    expect(drawsFor(-0.2)).toBeLessThan(15)
    expect(drawsFor(0.3)).toBeLessThan(60)
    expect(drawsFor(0.3)).toBeGreaterThan(drawsFor(-0.2))
  })

  it('should be sure once all were drawn, of a mean above and of none below', () => {
    const all = (bound: number) => {
      const bet = new MeanBet(115, bound, RANGE)
      for (const value of POPULATIONS.narrow) bet.take(value)
      return bet.pValue
    }
    const is = mean(POPULATIONS.narrow)
    expect(all(is - 0.001)).toBe(0)
    expect(all(is + 0.001)).toBeGreaterThan(0.3)
  })

  it('should count what is above the range as its end, and know nothing once a number is below', () => {
    const bet = new MeanBet(10, 0.4, RANGE)
    for (let i = 0; i < 8; i++) bet.take(9)
    expect(bet.pValue).toBeLessThan(0.01)
    const cut = new MeanBet(10, 0.4, RANGE)
    for (let i = 0; i < 8; i++) cut.take(1.5)
    expect(cut.pValue).toBe(bet.pValue)
    bet.take(-0.6)
    expect(bet.pValue).toBe(1)
  })
})
