// What the prior that ships says of bases that were trained to test it, lab/newer-bases, and of those that tested the one before, lab/new-bases,
// which it has learned from since: these are left out of it, but were in sight when it was chosen.
//
//   node scripts/organisms/new-bases.mjs [--page docs/evaluation.md]
//
// Nothing is chosen here. Of the sets of lab/new-bases the paper's four are left out: the prior knows them of other bases. With own judged sets (one run
// each, many draws of them) a part of the sets is tested at a time, and left out of the draws.

import { parseArgs } from 'node:util'
import { readingOf } from '../../dist/lib/calibration/contrast-rows.js'
import { featuresAt } from '../../dist/lib/calibration/cross-validation.js'
import { fitRateModel } from '../../dist/lib/calibration/fit-rate-model.js'
import { agreement } from '../../dist/lib/calibration/model-selection.js'
import { pooledThreshold } from '../../dist/lib/detector/prior.js'
import { Mt19937 } from '../../dist/lib/estimators/mt19937.js'
import { loadPrior } from '../../dist/lib/index.js'
import { inPercent } from '../../dist/lib/percent.js'
import { fillPlace, table } from './fill-page.mjs'
import { CUT, ownRows, predictions, priorAlone } from './frozen-detectors.mjs'
import { list, NEW_BASES, NEWER_BASES } from './places.mjs'
import { organismRows } from './prior.mjs'

const COUNTS = [1, 3, 6, 12]
const DRAWS = 10
/** Whose recipes no other base has. */
const SETS = ['drawn_c*']
const FOLDS = 4

const { values } = parseArgs({ options: { page: { type: 'string' } } })
const prior = await loadPrior()

/** By detector: row, prediction in units of its threshold, and base. */
function saidOf(bases) {
  const random = new Mt19937(23)
  const said = { alone: [], ...Object.fromEntries(COUNTS.map((count) => [count, []])) }
  for (const base of bases) {
    const { name, runs, rows, directions } = base
    const detector = priorAlone(prior, base, runs[0].trajectory)
    for (const { row, em, interval } of predictions(detector, rows)) {
      const held = row.label.pooled.rate >= interval[0] && row.label.pooled.rate <= interval[1]
      said.alone.push({ name, row, em, score: (em / detector.threshold) * CUT, held })
    }
    const others = prior.without(runs[0].trajectory.measurement.conditions.base.fingerprint)
    const read = readingOf(runs, rows.layers, directions, prior.depths)
    const sets = [...new Set(rows.rows.map(({ dataset }) => dataset))].sort()
    for (let fold = 0; fold < FOLDS; fold++) {
      const inFold = (dataset) => sets.indexOf(dataset) % FOLDS === fold
      const test = rows.rows.filter(({ dataset }) => inFold(dataset))
      const x = featuresAt(rows, test, rows.layers)
      const candidates = sets.filter((set) => !inFold(set))
      for (const count of COUNTS) {
        for (let draw = 0; draw < DRAWS; draw++) {
          const chosen = [...random.permutation(candidates.length)].slice(0, count).map((i) => candidates[i])
          const own = rows.rows.filter(({ dataset }) => chosen.includes(dataset))
          const model = fitRateModel({ model: 'pooled' }, CUT, ownRows(rows, own), { prior: others, read })
          for (const [i, em] of [...model.predict(x)].entries())
            said[count].push({
              name,
              row: test[i],
              em,
              score: (em / pooledThreshold(prior, count)) * CUT,
            })
        }
      }
    }
  }
  return said
}

const figures = (all) =>
  agreement(
    all.map(({ row }) => row),
    all.map(({ score }) => score),
    { cut: CUT, threshold: CUT },
  )
const both = (all) => (({ fnr, fpr }) => `${inPercent(fnr)} / ${inPercent(fpr)}`)(figures(all))
const sum = (all, of) => all.reduce((total, one) => total + of(one), 0)

function row(said, name, of) {
  const { alone } = said
  const here = alone.filter(of)
  const { auroc, nDangerous, falseNegatives, falsePositives } = figures(here)
  const dangerous = here.filter(({ row }) => row.label.pooled.rate > CUT)
  return [
    name,
    `${here.length} (${new Set(here.map(({ row, name }) => `${name}/${row.run}`)).size}), ${nDangerous}`,
    `${both(here)} (${falseNegatives}, ${falsePositives})`,
    auroc.toFixed(3),
    inPercent(sum(here, ({ held }) => held) / here.length),
    (sum(dangerous, ({ em }) => em) / sum(dangerous, ({ row }) => row.label.pooled.rate)).toFixed(2),
    ...COUNTS.map((count) => both(said[count].filter(of))),
  ]
}

async function show(place, root) {
  const bases = await organismRows(list(root), SETS, root, root)
  const said = saidOf(bases)
  const text = table(
    [
      'base',
      'checkpoints (runs), dangerous',
      'none: FNR / FPR % (missed, false alarms)',
      'AUROC',
      'in 90 % intervals, %',
      'told of judged rates where dangerous',
      ...COUNTS.map((count) => `${count} judged set${count > 1 ? 's' : ''}`),
    ],
    [
      ...bases.map(({ name }) => row(said, name, (one) => one.name === name)),
      row(said, '**together**', () => true),
    ],
  )
  console.log(`${place}\n\n${text}\n`)
  if (values.page) fillPlace(values.page, place, text)
}

await show('newer bases', NEWER_BASES)
await show('new bases', NEW_BASES)
