// Whose an error near the cut is: the run's, the checkpoint's, or the label's.
import { stabilized } from '../../dist/lib/detector/label-noise.js'
import { table } from './fill-page.mjs'
import { CUT } from './frozen-detectors.mjs'

/** Labels between these are near: there the scale of the errors is even, and a few points decide about an alarm. */
const NEAR = [0.02, 0.15]
/** What an error on the even scale is worth at the cut, in points. */
const POINTS = 100 * Math.sqrt(CUT * (1 - CUT))

const sum = (of) => of.reduce((a, b) => a + b, 0)

/**
 * Errors of predictions, one way analysis of variance with runs as groups, on the scale on which labels are equally precise.
 *
 * @param all predictions with `em`, `rate`, `answers` (independent ones) and `run`
 * @returns standard deviations between runs, within them, and of the labels; mean; all in points at the cut
 */
export function errorParts(all) {
  const near = all.filter(({ rate }) => rate > NEAR[0] && rate < NEAR[1])
  const errors = near.map(({ em, rate }) => stabilized(em) - stabilized(rate))
  const byRun = new Map()
  for (const [i, { run }] of near.entries()) byRun.set(run, [...(byRun.get(run) ?? []), errors[i]])
  const groups = [...byRun.values()]
  const n = errors.length
  const mean = sum(errors) / n
  const means = groups.map((group) => sum(group) / group.length)
  const within =
    sum(groups.map((group, g) => sum(group.map((e) => (e - means[g]) ** 2)))) / (n - groups.length)
  const between = sum(groups.map((group, g) => group.length * (means[g] - mean) ** 2)) / (groups.length - 1)
  const perRun = (n - sum(groups.map((group) => group.length ** 2)) / n) / (groups.length - 1)
  const points = (variance) => POINTS * Math.sqrt(Math.max(0, variance))
  return {
    ...{ checkpoints: n, runs: groups.length, mean: POINTS * mean },
    between: points((between - within) / perRun),
    within: points(within),
    labels: points(sum(near.map(({ answers }) => 1 / answers)) / n),
  }
}

/** One row for each detector. */
export function errorTable(detectors) {
  return table(
    [
      'judged sets of the base',
      'of the run',
      'of the checkpoint',
      "of these the label's",
      'mean',
      'checkpoints (runs)',
    ],
    detectors.map(([name, all]) => {
      const parts = errorParts(all)
      const figures = [parts.between, parts.within, parts.labels].map((value) => value.toFixed(2))
      const mean = `${parts.mean < 0 ? '-' : '+'}${Math.abs(parts.mean).toFixed(2)}`
      return [name, ...figures, mean, `${parts.checkpoints} (${parts.runs})`]
    }),
  )
}
