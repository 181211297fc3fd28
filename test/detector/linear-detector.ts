import { Detector } from '../../lib/detector/detector.js'
import { Prior, type PriorRow } from '../../lib/detector/prior.js'
import { RateModel } from '../../lib/detector/rate-model.js'
import type { SettledBy } from '../../lib/detector/settling.js'

/** Three bases whose rate grows with the first feature. */
const ROWS: PriorRow[] = Array.from({ length: 360 }, (_, i) => {
  const along = (i % 20) / 20
  const rate = 0.4 * along
  return {
    model: Math.floor(i / 120),
    dataset: `set-${Math.floor((i % 120) / 20)}`,
    features: [along, (i % 3) / 10],
    label: { nMisaligned: 500 * rate, nScoreable: 500, rate, standardError: 0.01 },
  }
})
const MODELS = ['f0', 'f1', 'f2'].map((fingerprint) => ({
  name: fingerprint,
  fingerprint,
  traitPack: 'pack',
}))

export const PRIOR = new Prior(0.06, 0.05, ['a', 'b'], [0.75], MODELS, ROWS)
/** One unit of drift is two of contrast. */
export const READ = [
  [2, 0],
  [0, 2],
]

/** A detector of the traits a and b at layer 3, whose alarm is decided by a ridge. */
export function linearDetector(threshold = 0.05, horizon = Number.MAX_SAFE_INTEGER): Detector {
  const memory = { features: [], datasets: [], errors: [], prior: PRIOR.errors(1000) }
  const state = {
    traits: ['a', 'b'],
    layers: [3],
    cut: 0.06,
    threshold,
    nominalCoverage: 0.9,
    horizon,
    memory,
  }
  return new Detector(state, RateModel.throughContrast('prior', PRIOR.ridge(), READ))
}

export const linearSource = (): SettledBy => ({
  detector: linearDetector(),
  calibratedFor: { base: [{ layer: 3, activationNorm: 10, projections: [1, 2] }] },
})
