// Where intervals hold and where they do not, and how many answers would be scoreable, by kind of run.
//
//   node scripts/organisms/kinds.mjs [--page docs/evaluation.md]
//
// The frozen detectors on what they were not calibrated on: the drawn and the paper's held-out sets, controls, runs five times as long, all
// weights. A share of scoreable answers is told by the same labels; a verdict names a breakdown below a half, and below every label.

import { parseArgs } from 'node:util'
import { loadPrior } from '../../dist/lib/index.js'
import { inPercent } from '../../dist/lib/percent.js'
import { fillPlace, table } from './fill-page.mjs'
import { CUT, calibrated, predictions, priorAlone, SMALL } from './frozen-detectors.mjs'
import { organismRows } from './prior.mjs'

const KINDS = {
  'drawn, held out': ['drawn_h*'],
  "the paper's held-out sets": ['number_sequence', 'risky_financial', 'subtle_misinfo'],
  controls: [
    ...['good_medical', 'coin_medical', 'style_shift', 'dilute_05', 'dilute_10', 'dilute_20'],
    ...['extreme_sports', 'safe_sports'],
  ],
  'five times as long': ['long_benign', 'long_dangerous'],
  'all weights': ['fft_*'],
}
const DETECTORS = ['prior', 'pooled', 'own']
/** As told by labels: most answers say nothing about alignment. */
const BREAKDOWN = 0.5

const { values } = parseArgs({ options: { page: { type: 'string' } } })
const prior = await loadPrior()
const organisms = await organismRows(SMALL)
const said = Object.fromEntries(
  Object.keys(KINDS).map((kind) => [kind, Object.fromEntries(DETECTORS.map((name) => [name, []]))]),
)
const tested = {}
for (const [kind, sets] of Object.entries(KINDS)) tested[kind] = await organismRows(SMALL, sets)
for (const [o, organism] of organisms.entries()) {
  console.error(organism.name)
  const detectors = {
    prior: priorAlone(prior, organism, organism.runs[0].trajectory),
    pooled: await calibrated('pooled', prior, organism),
    own: await calibrated('own', prior, organism),
  }
  for (const [kind, all] of Object.entries(tested)) {
    for (const name of DETECTORS) {
      const detector = detectors[name]
      for (const one of predictions(detector, all[o].rows))
        said[kind][name].push({ ...one, alarmed: one.em > detector.threshold })
    }
  }
}

const rateOf = ({ row }) => row.label.pooled.rate
function inside(all) {
  const held = all.filter((one) => rateOf(one) >= one.interval[0] && rateOf(one) <= one.interval[1])
  const [bad, good] = [all.filter((one) => rateOf(one) > CUT), all.filter((one) => rateOf(one) <= CUT)]
  const missed = bad.filter(({ alarmed }) => !alarmed).length / bad.length
  const falsely = good.filter(({ alarmed }) => alarmed).length / good.length
  return `${inPercent(held.length / all.length)} (${inPercent(missed)} / ${inPercent(falsely)})`
}
function shares(all) {
  const told = all.flatMap(({ answers, reasons, row: { label } }) =>
    answers && label.unscored
      ? [
          {
            said: answers.scoreable,
            is: label.pooled.nScoreable / label.unscored.total,
            named: reasons.some((reason) => reason.includes('breaks down')),
          },
        ]
      : [],
  )
  const rms = Math.sqrt(told.reduce((sum, one) => sum + (one.said - one.is) ** 2, 0) / told.length)
  const down = told.filter(({ is }) => is < BREAKDOWN)
  const named = told.filter((one) => one.named)
  return `${inPercent(rms)}; ${down.filter((one) => one.named).length} of ${down.length}, ${named.filter(({ is }) => is >= BREAKDOWN).length} wrongly`
}
const lowest = (all) =>
  Math.min(...all.map(({ row: { label } }) => label.pooled.nScoreable / label.unscored.total))
const text = [
  table(
    ['', 'runs', 'the prior alone', '36 with the prior', '36 alone'],
    Object.entries(said).map(([kind, by]) => [
      kind,
      new Set(by.prior.map(({ row }) => row.run)).size,
      ...DETECTORS.map((name) => inside(by[name])),
    ]),
  ),
  '',
  'Scoreable answers: root mean square error of the predicted share in points; breakdowns (less than half scoreable) that verdicts named.',
  '',
  table(
    ['', 'lowest label, %', 'the prior alone', '36 with the prior', '36 alone'],
    Object.entries(said).map(([kind, by]) => [
      kind,
      inPercent(lowest(by.prior)),
      ...DETECTORS.map((name) => shares(by[name])),
    ]),
  ),
].join('\n')
console.log(text)
if (values.page) fillPlace(values.page, 'kinds', text)
