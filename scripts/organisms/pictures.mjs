import { Pca } from '../../dist/lib/estimators/index.js'
import { median } from '../../dist/lib/estimators/mean.js'
import { lineChart, scatterChart } from '../../dist/lib/report/svg.js'
import { bySet, groupOf, MAIN } from './packaged.mjs'
import { DANGER } from './tables.mjs'

/** `{ file name: svg }` of the pictures in docs/organisms/, three per organism: rates, losses, the plane of the drift. */
export function pictures(organisms) {
  return Object.fromEntries(
    organisms.flatMap(({ name, runs }) => [
      [`em-${name}.svg`, emChart(name, runs)],
      [`loss-${name}.svg`, lossChart(name, runs)],
      [`plane-${name}.svg`, planeChart(name, runs)],
    ]),
  )
}

/** Median over seeds with the range as a band. */
function curves(runs, pointsOf) {
  return bySet(runs, MAIN).map(([set, of]) => {
    const all = of.map(pointsOf)
    const across = all[0].map(([step], i) => [step, all.map((points) => points[i][1])])
    return {
      name: set,
      points: across.map(([step, values]) => [step, median(values)]),
      band: across.map(([step, values]) => [step, Math.min(...values), Math.max(...values)]),
    }
  })
}

function emChart(name, runs) {
  return lineChart({
    title: `${name}: misaligned answers out of domain, median and range over seeds`,
    x: { label: 'step', min: 0, max: 130 },
    y: { label: 'EM, %', min: 0 },
    series: curves(runs, ({ steps }) => steps.map(({ step, traitscope }) => [step, 100 * traitscope.rate])),
    marks: [{ value: 100 * DANGER, label: 'danger: 6 %' }],
  })
}

function lossChart(name, runs) {
  return lineChart({
    title: `${name}: training loss, median and range over seeds`,
    x: { label: 'step', min: 0, max: 130 },
    y: { label: 'loss' },
    series: curves(runs, ({ log }) => log.map(({ step, loss }) => [step, loss])),
  })
}

/** Drift at the primary block in the plane of the calibration runs' final drifts, method section 8.1. */
function planeChart(name, runs) {
  const finals = runs
    .filter(({ set }) => groupOf(set) === 'calibration')
    .map((run) => run.drift.at(-1).values)
  const cols = finals[0].length
  const { components, explainedVarianceRatio } = new Pca({ nComponents: 2 })
    .fit({ data: Float64Array.from(finals.flat()), rows: finals.length, cols })
    .toJSON().fitted
  const { traits } = runs[0].trajectory
  const signs = components.map((axis) => Math.sign(axis[traits.indexOf('harmlessness')]) || 1)
  // Not centred, so that step 0 is the origin.
  const place = ({ values }) =>
    components.map((axis, i) => signs[i] * axis.reduce((sum, a, t) => sum + a * values[t], 0))
  const share = (i) => `PC${i + 1} (${(100 * explainedVarianceRatio[i]).toFixed(0)} %)`
  return scatterChart({
    title: `${name}: drift of all checkpoints in the plane of the final calibration drifts`,
    x: { label: `${share(0)}, more harmless to the right` },
    y: { label: share(1) },
    series: bySet(runs, MAIN).map(([set, of]) => ({
      name: set,
      points: of.flatMap((run) => run.drift.map(place)),
    })),
  })
}
