import { describe, expect, it } from 'vitest'
import { heldOutErrors, parseMemory } from '../../lib/detector/memory.js'
import { JsonFields } from '../../lib/formats/json/json-fields.js'

const memory = (errors: number[][]) => ({
  features: [],
  datasets: [],
  errors: [],
  prior: { errors, weight: 12 },
})
const parsed = (errors: number[][]) =>
  parseMemory(new JsonFields(JSON.parse(JSON.stringify(memory(errors))), 'detector.json', 'memory.'), 2)

describe('heldOutErrors', () => {
  it('should count other bases alike, and the sets of each', () => {
    // Three sets of one base and one of another.
    const errors = heldOutErrors(
      parsed([
        [0.1, 0.2, 0, 0],
        [0.1, 0.2, 1, 0],
        [0.1, 0.2, 2, 0],
        [0.1, 0.2, 3, 1],
        [0.3, 0.2, 3, 1],
      ]),
      [],
    )
    expect(errors.map(({ weight }) => weight)).toEqual([2, 2, 2, 6, 6])
    expect(errors.map(({ base }) => base)).toEqual(['prior 0', 'prior 0', 'prior 0', 'prior 1', 'prior 1'])
  })

  it('should take every set for itself where a bundle does not tell bases apart', () => {
    const errors = heldOutErrors(
      parsed([
        [0.1, 0.2, 0],
        [0.1, 0.2, 1],
        [0.1, 0.2, 1],
      ]),
      [],
    )
    expect(errors.map(({ weight }) => weight)).toEqual([6, 6, 6])
    expect(errors.map(({ base }) => base)).toEqual(['prior 0', 'prior 1', 'prior 1'])
  })

  it('should take none, where one other base alone is known', () => {
    expect(heldOutErrors(parsed([]), [])).toEqual([])
  })

  it('should refuse errors that are neither', () => {
    expect(() => parsed([[0.1, 0.2]])).toThrow(/memory\.prior\.errors.* two rates and two numbers/)
  })
})
