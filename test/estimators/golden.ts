import { readFileSync } from 'node:fs'
import type { Matrix64 } from '../../lib/estimators/matrix.js'
import { Mt19937 } from '../../lib/estimators/mt19937.js'

/** Golden values that lab/golden_estimators.py wrote. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/estimators/${name}.json`, import.meta.url), 'utf8'))
}

/** The script's input: `(RandomState(seed).rand(rows, cols) - 0.5) * scale`, scale per column or for all. */
export function uniform(
  seed: number,
  rows: number,
  cols: number,
  scale: number | readonly number[],
): Matrix64 {
  const random = new Mt19937(seed)
  const data = Float64Array.from({ length: rows * cols }, (_, i) => {
    return (random.rand() - 0.5) * (typeof scale === 'number' ? scale : scale[i % cols]!)
  })
  return { data, rows, cols }
}

/** Largest absolute difference, relative to the largest magnitude of the expected numbers. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = Math.abs(actual.length - expected.length)
  let size = 0
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!))
    size = Math.max(size, Math.abs(expected[i]!))
  }
  return difference / size
}
