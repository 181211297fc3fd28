// The detectors that the frozen choice makes of the organisms' calibration sets: nothing is chosen here.
import { readingOf } from '../../dist/lib/calibration/contrast-rows.js'
import { featuresAt, outOfFold } from '../../dist/lib/calibration/cross-validation.js'
import { fitDetector } from '../../dist/lib/calibration/fit-detector.js'
import { pooledThreshold } from '../../dist/lib/detector/prior.js'
import { trajectoryPrior } from '../../dist/lib/detector/prior-detector.js'

export const SMALL = ['llama', 'mistral', 'qwen2', 'gemma2']
export const CUT = 0.06
export const COVERAGE = 0.9

/** The detector that knows other organisms alone; `trajectory` is any of the organism's. */
export function priorAlone(prior, { directions }, trajectory) {
  return trajectoryPrior(prior, directions, trajectory).detector
}

/** Of all calibration sets of an organism: with the other organisms (`pooled`), or alone (`own`). */
export async function calibrated(kind, prior, organism, keep = () => true) {
  const { runs, directions } = organism
  const rows = { ...organism.rows, rows: organism.rows.rows.filter(keep) }
  const others = prior.without(runs[0].trajectory.measurement.conditions.base.fingerprint)
  const read = readingOf(runs, rows.layers, directions, others.depths)
  const pool = kind === 'pooled' ? { prior: others, read } : undefined
  const spec = { model: kind === 'pooled' ? 'pooled' : 'blend', layers: rows.layers }
  const predictions = await outOfFold(rows, spec, CUT, 'dataset', undefined, pool)
  const sets = new Set(rows.rows.map(({ dataset }) => dataset)).size
  const threshold = pool ? pooledThreshold(others, sets) : CUT
  return fitDetector(rows, spec, predictions, { cut: CUT, threshold, nominalCoverage: COVERAGE, pool })
}

/** Judged checkpoints of a base as a pooled model is fitted on them. */
export const ownRows = (rows, own) => ({
  features: featuresAt(rows, own, rows.layers),
  labels: own.map(({ label }) => label.pooled),
  datasets: own.map(({ dataset }) => dataset),
})

/** What a detector predicts of every labelled checkpoint. */
export function predictions(detector, rows) {
  return rows.rows.map((row) => {
    const drift = detector.layers.map((layer) => row.drift[rows.layers.indexOf(layer)])
    return { row, ...detector.predict(drift), reasons: detector.verdict(drift).reasons }
  })
}
