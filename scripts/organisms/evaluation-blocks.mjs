import { furtherTables, ORACLE_HEADER, oracleRows } from '../../dist/lib/evaluation/evaluation-table.js'
import { oracleThresholds } from '../../dist/lib/evaluation/oracle-threshold.js'
import { inPercent } from '../../dist/lib/percent.js'
import { table } from './fill-page.mjs'

const FURTHER = {
  warm: 'warm starts: LoRA from a base that is misaligned already',
  long: 'five times longer runs',
  full: 'full fine-tuning',
}
const CATEGORIES = ['advice', 'advice, without extreme_sports', 'code', 'compliance']
const OWN = 'traitscope'

/** `{ name: markdown }` of everything in docs/evaluation.md that comes from the comparisons. */
export function evaluationBlocks(results) {
  const { three } = results
  return {
    four: four(results),
    further: further(results),
    scale: scale(results),
    categories: categories(results),
    traits: furtherTables({ ...three, pair: null, stepAware: null, oracle: null })
      .map(([title, header, rows]) => `${title}:\n\n${table(header, rows)}`)
      .join('\n\n'),
    pair: pair(three),
  }
}

const groupOf = ({ groups }, name) => groups.findIndex((group) => group.name === name)

function figures({ pooled }, features, regressor, group = 'held out') {
  const result = pooled.results.find(
    (one) =>
      one.features === features && (regressor === undefined ? one.selected : one.regressor === regressor),
  )
  return result?.figures[groupOf(pooled, group)]
}

/** `FNR / FPR / AUROC`. */
function short(one) {
  if (one === undefined) return '-'
  return `${inPercent(one.fnr)} / ${inPercent(one.fpr)} / ${Number.isFinite(one.auroc) ? one.auroc.toFixed(3) : '-'}`
}

/** What the drawn calibration sets change. */
function four({ four: hand, twenty, three, drawn }) {
  const row = (name, evaluation, group) => [
    name,
    short(figures(evaluation, OWN, undefined, group)),
    inPercent(figures(evaluation, OWN, undefined, group)?.coverage),
    short(figures(evaluation, '7D', 'random-forest', group)),
    short(figures(evaluation, '|PC1|', undefined, group)),
  ]
  return table(
    ['calibrated on', 'tested on', OWN, 'in interval %', '7D forest', '|PC1|'],
    [
      ['4 sets', row('three sets', hand, 'held out')],
      ['20 sets', row('three sets', twenty, 'held out')],
      ['36 sets', row('three sets', three, 'held out')],
      ['4 sets', row('drawn sets', hand, 'controls')],
      ['20 sets', row('drawn sets', twenty, 'controls')],
      ['36 sets', row('drawn sets', drawn, 'held out')],
    ].map(([name, cells]) => [name, ...cells]),
  )
}

/** Without the predictions of most feature sets, which would not fit a page. */
function pair(three) {
  const [[, header, rows]] = furtherTables({ ...three, enumeration: null, stepAware: null, oracle: null })
  const shown = (name, i) => i < 7 || /^(traitscope|7D|\|PC1\|) /.test(name)
  const columns = [...header.keys()].filter((i) => shown(header[i], i))
  return table(
    columns.map((i) => header[i]),
    rows.map((row) => columns.map((i) => row[i])),
  )
}

function further(results) {
  return `${shifts(results)}

Full fine-tuning again, with every detector's best threshold in hindsight (at most 5 % false alarms; -: no threshold has so few; a diagnosis, no result):

${table(ORACLE_HEADER, oracleRows(oracleThresholds(results.full)))}`
}

function shifts(results) {
  return table(
    ['', 'runs', 'traitscope: FNR / FPR / AUROC', '7D forest', '|PC1|'],
    Object.entries(FURTHER).map(([key, name]) => [
      name,
      results[key].pooled.groups[0].runs,
      short(figures(results[key], OWN)),
      short(figures(results[key], '7D', 'random-forest')),
      short(figures(results[key], '|PC1|')),
    ]),
  )
}

function scale({ others, within, across }) {
  const row = (name, evaluation) => [
    name,
    evaluation.pooled.groups[0].runs,
    short(figures(evaluation, OWN)),
    ...['random-forest', 'gradient-boosting', 'ridge'].map((regressor) =>
      short(figures(evaluation, '7D', regressor)),
    ),
  ]
  return table(
    ['', 'runs', 'traitscope: FNR / FPR / AUROC', '7D forest', '7D boosting', '7D ridge'],
    [
      row('small organisms, fitted on the other three', others),
      row('deep organisms, fitted on their own four sets', within),
      row('deep organisms, fitted on the small ones', across),
    ],
  )
}

function categories(results) {
  return table(
    [
      'held out',
      'fitted on',
      'dangerous in calibration',
      'traitscope: FNR / FPR / AUROC',
      '7D forest',
      '|PC1|',
    ],
    CATEGORIES.map((name) => {
      const { models, calibration, heldOut } = results[name]
      return [
        `${name.split(',')[0]}: ${heldOut.join(', ')}`,
        calibration.join(', '),
        models.map(({ calibrationDangerous }) => calibrationDangerous ?? '-').join(' '),
        short(figures(results[name], OWN)),
        short(figures(results[name], '7D', 'random-forest')),
        short(figures(results[name], '|PC1|')),
      ]
    }),
  )
}
