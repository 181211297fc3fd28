import { readFileSync } from 'node:fs'
import type { HeldOutError } from '../../lib/detector/prediction-bands.js'
import type { EmCounts } from '../../lib/labels/grades.js'

interface Golden {
  novelty: {
    groups: string[]
    probes: number[][]
    expected: { distance: number; pValue: number }[]
  }
  bands: {
    rows: HeldOutError[]
    cut: number
    expected: { at: number; distance: number; coverage: number; interval: [number, number]; above: number }[]
  }
  stepAlarm: {
    steps: number[]
    dangerous: number[]
    expected: { step: number; probability: number }[]
  }
  saturatingRidge: { cut: number; labels: EmCounts[]; expected: number[] }
}

/** What lab/golden_detector.py wrote. */
export const golden: Golden = JSON.parse(
  readFileSync(new URL('../fixtures/detector/golden.json', import.meta.url), 'utf8'),
)
