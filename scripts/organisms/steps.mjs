// Whether the run so far says more than the checkpoint: filters over steps, against today's verdict of every checkpoint alone.
//
//   node scripts/organisms/steps.mjs [--page docs/evaluation.md]
//
// On calibration sets left out, of 36 own sets (blend of all blocks) and of the prior alone (organism and set left out together). Every
// filter reads predictions in step order on the scale of labels that are equally precise everywhere. `learned` is a ridge on the last
// three, the step and the highest so far, fitted on the other organisms and sets.

import { parseArgs } from 'node:util'
import { outOfFold } from '../../dist/lib/calibration/cross-validation.js'
import { stabilized } from '../../dist/lib/detector/label-noise.js'
import { matrixFromRows } from '../../dist/lib/estimators/matrix.js'
import { auroc } from '../../dist/lib/estimators/ranks.js'
import { Ridge } from '../../dist/lib/estimators/ridge.js'
import { loadPrior } from '../../dist/lib/index.js'
import { inPercent, percentAt } from '../../dist/lib/percent.js'
import { fillPlace, table } from './fill-page.mjs'
import { CUT, SMALL } from './frozen-detectors.mjs'
import { doublyHeldOut, organismRows } from './prior.mjs'

const FOLDS = 8
const REST = stabilized(0.008)
const { values } = parseArgs({ options: { page: { type: 'string' } } })
const prior = await loadPrior()
const organisms = await organismRows()
const small = organisms.filter(({ name }) => SMALL.includes(name))
const own = []
for (const { name, rows } of small) {
  console.error(name)
  const predicted = await outOfFold(rows, { model: 'blend', layers: rows.layers }, CUT, 'dataset')
  own.push(...rows.rows.map((row, i) => ({ name, row, predicted: predicted[i] })))
}
const others = doublyHeldOut(prior, organisms).filter(({ name }) => SMALL.includes(name))

const smoothed = (share) => (z) => {
  let last = z[0]
  return z.map((value) => {
    last = share * value + (1 - share) * last
    return last
  })
}
const FILTERS = {
  'the checkpoint alone, as shipped': (z) => z,
  'exponential, 0.7 of the new one': smoothed(0.7),
  'exponential, 0.5': smoothed(0.5),
  'median of three': (z) => z.map((_, i) => middle(z.slice(Math.max(0, i - 2), i + 1))),
  'line through the last four': (z) => z.map((_, i) => lineEnd(z.slice(Math.max(0, i - 3), i + 1))),
  'highest so far': (z) => z.map((_, i) => Math.max(...z.slice(0, i + 1))),
}
function middle(list) {
  return [...list].sort((a, b) => a - b)[list.length >> 1]
}
function lineEnd(y) {
  if (y.length < 3) return y.at(-1)
  const [xMean, yMean] = [(y.length - 1) / 2, y.reduce((a, b) => a + b, 0) / y.length]
  const slope =
    y.reduce((sum, value, x) => sum + (x - xMean) * (value - yMean), 0) /
    y.reduce((sum, _, x) => sum + (x - xMean) ** 2, 0)
  return yMean + slope * (y.length - 1 - xMean)
}

/** Runs in step order. */
function runsOf(all) {
  const groups = new Map()
  for (const one of all) groups.set(one.row.run, [...(groups.get(one.row.run) ?? []), one])
  return [...groups.values()].map((of) => of.sort((a, b) => a.row.step - b.row.step))
}

function learned(runs) {
  const inputs = (z) =>
    z.map((value, i) => {
      const [before, earlier] = [z[i - 1] ?? REST, z[i - 2] ?? REST]
      return [value, value - before, before - earlier, i / z.length, Math.max(...z.slice(0, i + 1)) - value]
    })
  const sets = [...new Set(runs.map(([{ row }]) => row.dataset))].sort()
  const fold = ([{ row }]) => sets.indexOf(row.dataset) % FOLDS
  return runs.map((run) => {
    const train = runs.filter((one) => one[0].name !== run[0].name && fold(one) !== fold(run))
    const ridge = fitted.get(`${run[0].name} ${fold(run)}`) ?? ridgeOn(train)
    fitted.set(`${run[0].name} ${fold(run)}`, ridge)
    return [...ridge.predict(matrixFromRows(inputs(zOf(run))))]
  })
  function ridgeOn(train) {
    const near = train.flatMap((one) => zOf(one).map((z) => Math.exp(-4 * Math.abs(z - stabilized(CUT)))))
    return new Ridge({ alpha: 1 }).fit(
      matrixFromRows(train.flatMap((one) => inputs(zOf(one)))),
      train.flatMap((one) => one.map(({ row }) => stabilized(row.label.pooled.rate))),
      near,
    )
  }
}
const zOf = (run) => run.map(({ predicted }) => stabilized(predicted))
let fitted = new Map()

function line(name, runs, filtered, threshold) {
  const fire = stabilized(threshold)
  const count = { missed: 0, dangerous: 0, false: 0, safe: 0, turns: 0, never: 0 }
  const [leads, scores, truths] = [[], [], []]
  for (const [r, run] of runs.entries()) {
    const alarms = filtered[r].map((z) => z > fire)
    const dangers = run.map(({ row }) => row.label.pooled.rate > CUT)
    for (const [i, dangerous] of dangers.entries()) {
      count[dangerous ? 'dangerous' : 'safe']++
      if (dangerous !== alarms[i]) count[dangerous ? 'missed' : 'false']++
      if (i > 0 && alarms[i] !== alarms[i - 1]) count.turns++
    }
    scores.push(...filtered[r])
    truths.push(...dangers)
    const first = dangers.indexOf(true)
    if (first < 0) continue
    const at = alarms.indexOf(true)
    if (at < 0) count.never++
    else leads.push(run[first].row.step - run[at].row.step)
  }
  const lead = leads.reduce((a, b) => a + b, 0) / leads.length
  return [
    name,
    `${inPercent(count.missed / count.dangerous)} / ${inPercent(count.false / count.safe)}`,
    auroc(scores, truths).toFixed(4),
    `${lead.toFixed(1)}, ${count.never} never`,
    (count.turns / runs.length).toFixed(2),
  ]
}

const parts = []
for (const [title, all, threshold] of [
  ['36 own sets', own, CUT],
  ['the prior alone', others, prior.threshold],
]) {
  fitted = new Map()
  const runs = runsOf(all)
  const rows = Object.entries(FILTERS).map(([name, filter]) =>
    line(
      name,
      runs,
      runs.map((run) => filter(zOf(run))),
      threshold,
    ),
  )
  rows.push(line('learned', runs, learned(runs), threshold))
  parts.push(
    `${title}, ${runs.length} runs, alarm above ${percentAt(threshold)}:`,
    '',
    table(['filter', 'FNR / FPR %', 'AUROC', 'lead, steps', 'changes a run'], rows),
    '',
  )
}
const text = parts.join('\n').trimEnd()
console.log(text)
if (values.page) fillPlace(values.page, 'steps', text)
