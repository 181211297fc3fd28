// What the frozen detectors do on the sets that test them once, lab/unseen, and the tables of docs/evaluation.md on it.
//
//   node scripts/organisms/unseen.mjs [--runs lab/unseen] [--sets 'drawn_t*'] [--to FILE.json] [--page docs/evaluation.md --place NAME]
//
// Four detectors per organism: the prior alone; pooled with six calibration sets (one run each, three draws of them); pooled with all
// 36; the base's own 36 alone. Nothing is chosen here: models, constants and thresholds are those of lab/detector-choice.json
// and lab/prior-choice.json. Every recipe is one run, so runs are the clusters of every interval.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { auroc } from '../../dist/lib/calibration/metrics.js'
import { probabilityAbove } from '../../dist/lib/detector/label-noise.js'
import { Mt19937 } from '../../dist/lib/estimators/mt19937.js'
import { loadPrior } from '../../dist/lib/index.js'
import { fillPlace, table } from './fill-page.mjs'
import { CUT, calibrated, predictions, priorAlone, SMALL } from './frozen-detectors.mjs'
import { UNSEEN } from './places.mjs'
import { organismRows } from './prior.mjs'

const FEW = 6
const DRAWS = 3
const RESAMPLES = 2000
const BANDS = [0, 0.02, 0.06, 0.15, 0.35, 1.01]

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: UNSEEN },
    to: { type: 'string' },
    page: { type: 'string' },
    place: { type: 'string', default: 'unseen' },
    sets: { type: 'string', default: 'drawn_t*' },
  },
})
const prior = await loadPrior()
const organisms = await organismRows(SMALL)
const tested = await organismRows(SMALL, values.sets.split(','), values.runs)
const random = new Mt19937(19)
const said = { prior: [], own: [], pooled: [] }
const few = Array.from({ length: DRAWS }, () => [])

for (const [o, organism] of organisms.entries()) {
  const { name, rows } = organism
  console.error(name)
  const { runs, rows: test } = tested[o]
  const sets = [...new Set(rows.rows.map(({ dataset }) => dataset))].sort()
  take(said.prior, name, test, priorAlone(prior, organism, runs[0].trajectory))
  for (const kind of ['own', 'pooled']) take(said[kind], name, test, await calibrated(kind, prior, organism))
  for (const into of few) {
    const chosen = [...random.permutation(sets.length)].slice(0, FEW).map((i) => sets[i])
    const seed = Math.min(...rows.rows.map((row) => row.seed))
    const keep = (row) => chosen.includes(row.dataset) && row.seed === seed
    take(into, name, test, await calibrated('pooled', prior, organism, keep))
  }
}

/** What a detector says of every unseen checkpoint. */
function take(into, name, rows, detector) {
  for (const { row, em, interval } of predictions(detector, rows)) {
    const { run, label } = row
    const { rate, standardError } = label.pooled
    into.push({
      ...{ name, run, rate, em },
      score: em / detector.threshold,
      dangerous: rate > CUT,
      near: Math.abs(rate - CUT) <= 1.96 * standardError,
      p: probabilityAbove(label.pooled, CUT),
      held: rate >= interval[0] && rate <= interval[1],
    })
  }
}

const alarm = ({ score }) => score > 1
function groupBy(all, of) {
  const groups = new Map()
  for (const one of all) groups.set(of(one), [...(groups.get(of(one)) ?? []), one])
  return groups
}
function rates(all) {
  const dangerous = all.filter((one) => one.dangerous)
  const safe = all.filter((one) => !one.dangerous)
  const missed = dangerous.filter((one) => !alarm(one)).length
  const falseAlarms = safe.filter(alarm).length
  return {
    ...{ checkpoints: all.length, dangerous: dangerous.length, missed, falseAlarms },
    fnr: missed / dangerous.length,
    fpr: falseAlarms / safe.length,
  }
}

/** 95 % intervals of both error rates, runs drawn with replacement. */
function clustered(all) {
  const runs = [...groupBy(all, ({ run }) => run).values()]
  const drawn = Array.from({ length: RESAMPLES }, () =>
    rates(runs.flatMap(() => runs[random.randint(runs.length)])),
  )
  const bounds = (of) => {
    const sorted = drawn
      .map(of)
      .filter(Number.isFinite)
      .sort((a, b) => a - b)
    return [sorted[Math.floor(0.025 * sorted.length)], sorted[Math.floor(0.975 * sorted.length)]]
  }
  return { fnr: bounds(({ fnr }) => fnr), fpr: bounds(({ fpr }) => fpr) }
}

function figures(all) {
  const byRun = groupBy(
    all.filter((one) => alarm(one) !== one.dangerous),
    ({ run }) => run,
  )
  return {
    ...rates(all),
    auroc: auroc(
      all.map(({ score }) => score),
      all.map(({ dangerous }) => dangerous),
    ),
    interval95: clustered(all),
    outsideNoise: rates(all.filter(({ near }) => !near)),
    coverage: all.filter(({ held }) => held).length / all.length,
    bands: BANDS.slice(1).map((to, i) => {
      const inside = all.filter(({ em }) => em >= BANDS[i] && em < to)
      return {
        ...{ from: BANDS[i], to, checkpoints: inside.length },
        runs: new Set(inside.map(({ run }) => run)).size,
        coverage: inside.filter(({ held }) => held).length / inside.length,
      }
    }),
    errors: Object.fromEntries([...byRun].map(([run, of]) => [run, of.length])),
  }
}

const mean = (of) => of.reduce((a, b) => a + b, 0) / of.length
const known = said.pooled
const dangerousRuns = new Set(known.filter(({ dangerous }) => dangerous).map(({ run }) => run)).size
const dangerous = known.filter((one) => one.dangerous)
const safe = known.filter((one) => !one.dangerous)
const results = {
  sets: Object.fromEntries(tested.map(({ name, runs }) => [name, runs.length])),
  ...{ checkpoints: known.length, dangerousRuns, near: known.filter(({ near }) => near).length },
  /** What a perfect predictor of the true rate would be charged with, since labels are counts. */
  floor: { fnr: mean(dangerous.map(({ p }) => 1 - p)), fpr: mean(safe.map(({ p }) => p)) },
  /** 95 % upper bound of the share of dangerous runs missed altogether, if none was. */
  boundAtNone: 1 - 0.05 ** (1 / dangerousRuns),
  prior: figures(said.prior),
  few: few.map(figures),
  pooled: figures(said.pooled),
  own: figures(said.own),
}
if (values.to) writeFileSync(values.to, `${JSON.stringify(results, null, 1)}\n`)

const percent = (share) => (Number.isFinite(share) ? (100 * share).toFixed(1) : '-')
const both = ({ fnr, fpr }) => `${percent(fnr)} / ${percent(fpr)}`
const range = ([from, to]) => `[${percent(from)}, ${percent(to)}]`
const line = (name, one) => [
  name,
  `${percent(one.fnr)} ${range(one.interval95.fnr)} (${one.missed})`,
  `${percent(one.fpr)} ${range(one.interval95.fpr)} (${one.falseAlarms})`,
  one.auroc.toFixed(3),
  both(one.outsideNoise),
  percent(one.coverage),
  Object.keys(one.errors).length,
]
const rows = [
  line('none: the prior alone, alarm above 5 %', results.prior),
  [
    `6, one seed each, with the prior (mean of ${DRAWS} draws)`,
    percent(mean(results.few.map(({ fnr }) => fnr))),
    percent(mean(results.few.map(({ fpr }) => fpr))),
    mean(results.few.map((one) => one.auroc)).toFixed(3),
    `${percent(mean(results.few.map((one) => one.outsideNoise.fnr)))} / ${percent(mean(results.few.map((one) => one.outsideNoise.fpr)))}`,
    percent(mean(results.few.map(({ coverage }) => coverage))),
    mean(results.few.map(({ errors }) => Object.keys(errors).length)).toFixed(1),
  ],
  line('36 with the prior', results.pooled),
  line('36 alone', results.own),
]
const text = [
  table(
    [
      'judged sets of the base',
      'FNR % [95 %] (missed)',
      'FPR % [95 %] (false alarms)',
      'AUROC',
      'outside label noise',
      'in 90 % intervals, %',
      'runs with an error',
    ],
    rows,
  ),
  '',
  `${known.length} checkpoints of ${Object.values(results.sets).reduce((a, b) => a + b, 0)} runs (${Object.entries(
    results.sets,
  )
    .map(([name, n]) => `${name} ${n}`)
    .join(
      ', ',
    )}), ${dangerous.length} of them dangerous, in ${dangerousRuns} runs; ${results.near} labels within 1.96 standard errors of the cut. Label noise charges a perfect predictor with ${both(results.floor)} %. If none of ${dangerousRuns} dangerous runs is missed altogether, up to ${percent(results.boundAtNone)} % may be.`,
  '',
  'Share of rates inside their 90 % intervals, by predicted rate (runs):',
  '',
  table(
    ['', ...BANDS.slice(1).map((to, i) => `${100 * BANDS[i]} to ${Math.min(100, 100 * to)} %`)],
    ['prior', 'pooled', 'own'].map((kind) => [
      { prior: 'the prior alone', pooled: '36 with the prior', own: '36 alone' }[kind],
      ...results[kind].bands.map(({ coverage, runs }) => `${percent(coverage)} (${runs})`),
    ]),
  ),
  '',
  `Errors by run: ${
    [
      ...groupBy(
        ['prior', 'pooled', 'own'].flatMap((kind) =>
          Object.entries(results[kind].errors).map(([run, n]) => ({ kind, run, n })),
        ),
        ({ run }) => run,
      ),
    ]
      .map(
        ([run, of]) => `${run.replace('/seed_42', '')} ${of.map(({ kind, n }) => `${kind} ${n}`).join(', ')}`,
      )
      .join('; ') || 'none'
  }.`,
].join('\n')
console.log(text)
if (values.page) fillPlace(values.page, values.place, text)
