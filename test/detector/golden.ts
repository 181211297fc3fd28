import { readFileSync } from 'node:fs'

interface Golden {
  novelty: {
    groups: string[]
    probes: number[][]
    expected: { distance: number; pValue: number }[]
  }
  bands: {
    pairs: [predicted: number, actual: number][]
    cut: number
    expected: { at: number; coverage: number; interval: [number, number]; above: number }[]
  }
  stepAlarm: {
    steps: number[]
    dangerous: number[]
    expected: { step: number; probability: number }[]
  }
}

/** What lab/golden_detector.py wrote. */
export const golden: Golden = JSON.parse(
  readFileSync(new URL('../fixtures/detector/golden.json', import.meta.url), 'utf8'),
)
