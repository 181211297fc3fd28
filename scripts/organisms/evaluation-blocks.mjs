import {
  evaluationRows,
  furtherTables,
  ORACLE_HEADER,
  oracleRows,
  TABLE_HEADER,
} from '../../dist/lib/evaluation/evaluation-table.js'
import { oracleThresholds } from '../../dist/lib/evaluation/oracle-threshold.js'
import { table } from './fill-page.mjs'

const FURTHER = {
  warm: 'warm starts: LoRA from a base that is misaligned already',
  long: 'five times longer runs',
  full: 'full fine-tuning',
}
const CATEGORIES = ['advice', 'advice, without extreme_sports', 'code', 'compliance']
const OWN = 'traitscope'
const HELD_OUT = ['number_sequence', 'risky_financial', 'subtle_misinfo']

/** `{ name: markdown }` of everything in docs/evaluation.md that comes from the comparisons. */
export function evaluationBlocks(results) {
  const { three, drawn } = results
  return {
    counts: counts(results),
    drawn: comparison(drawn.pooled, 'held out'),
    three: comparison(three.pooled, 'held out'),
    dangerous: comparison(three.pooled, 'dangerous sets'),
    controls: comparison(three.pooled, 'controls'),
    single: comparison(three.single, 'held out', [OWN, '7D', '|PC1|', 'activation norm']),
    'drawn single': comparison(drawn.single, 'held out', [OWN, '7D', '|PC1|', 'activation norm']),
    four: four(results),
    target: target(results),
    sets: errorsBySet(three),
    'drawn sets': errorsBySet(drawn),
    further: further(results),
    scale: scale(results),
    categories: categories(results),
    traits: furtherTables({ ...three, pair: null, stepAware: null, oracle: null })
      .map(([title, header, rows]) => `${title}:\n\n${table(header, rows)}`)
      .join('\n\n'),
    pair: pair(three),
    long: stepAware(three),
  }
}

function comparison(evaluation, group, only) {
  const rows = evaluationRows(evaluation, group)
  return table(TABLE_HEADER, only ? rows.filter(([features]) => only.includes(features)) : rows)
}

const groupOf = ({ groups }, name) => groups.findIndex((group) => group.name === name)
const percent = (share) => (Number.isFinite(share) ? (100 * share).toFixed(1) : '-')

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
  return `${percent(one.fnr)} / ${percent(one.fpr)} / ${Number.isFinite(one.auroc) ? one.auroc.toFixed(3) : '-'}`
}

function counts(results) {
  return table(
    ['held out', 'runs', 'checkpoints', 'dangerous', 'missed', 'false alarms', 'in 90 % intervals'],
    [
      ['drawn sets, 12 per organism', 'drawn'],
      ['number_sequence, risky_financial, subtle_misinfo', 'three'],
    ].map(([name, key]) => {
      const { runs, checkpoints } = results[key].pooled.groups[0]
      const one = figures(results[key], OWN)
      const of = (wrong, all) => `${wrong} (${percent(wrong / all)} %)`
      return [
        name,
        runs,
        checkpoints.length,
        one.nDangerous,
        of(one.falseNegatives, one.nDangerous),
        of(one.falsePositives, one.nSafe),
        `${percent(one.coverage)} %`,
      ]
    }),
  )
}

/** What the drawn calibration sets change. */
function four({ four: hand, twenty, three, drawn }) {
  const row = (name, evaluation, group) => [
    name,
    short(figures(evaluation, OWN, undefined, group)),
    percent(figures(evaluation, OWN, undefined, group)?.coverage),
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

/** Misses and false alarms of the best detectors where thresholds are set by a target. */
function target({ target: { pooled } }) {
  const cells = (one) => [
    `${percent(one.fnr)} (${one.falseNegatives} of ${one.nDangerous})`,
    `${percent(one.fpr)} (${one.falsePositives} of ${one.nSafe})`,
    percent(one.accuracy),
  ]
  const [three, drawn] = ['held out', 'controls'].map((name) => groupOf(pooled, name))
  return table(
    [
      '',
      'three sets: missed %',
      'false alarms %',
      'acc %',
      'drawn sets: missed %',
      'false alarms %',
      'acc %',
    ],
    pooled.results
      .filter(({ selected }) => selected)
      .map(({ features, figures }) => [features, ...cells(figures[three]), ...cells(figures[drawn])]),
  )
}

/** Missed of dangerous and false alarms of safe checkpoints of traitscope's own detector, per set and model. */
function errorsBySet({ pooled, checkpoints }) {
  const { predictions, alarms } = pooled.results.find(({ features }) => features === OWN)
  const cells = new Map()
  for (const [i, { run, pooled: rate }] of checkpoints.entries()) {
    const [model, set] = run.split('/')
    const key = `${set}/${model}`
    const cell = cells.get(key) ?? { missed: 0, dangerous: 0, alarmed: 0, safe: 0 }
    cells.set(key, cell)
    const alarm = alarms?.[i] ?? predictions[i] > pooled.threshold
    const dangerous = rate > pooled.cut
    cell[dangerous ? 'dangerous' : 'safe']++
    if (dangerous && !alarm) cell.missed++
    if (!dangerous && alarm) cell.alarmed++
  }
  const models = [...new Set(checkpoints.map(({ run }) => run.split('/')[0]))]
  const sets = [...new Set(checkpoints.map(({ run }) => run.split('/')[1]))]
  const show = (cell) => (cell ? `${cell.missed}/${cell.dangerous}, ${cell.alarmed}/${cell.safe}` : '-')
  return table(
    ['set', ...models],
    sets.map((set) => [set, ...models.map((model) => show(cells.get(`${set}/${model}`)))]),
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

/** The held-out sets, and the alarms that are no forests. */
function stepAware(three) {
  const [[, header, rows]] = furtherTables({ ...three, enumeration: null, pair: null, oracle: null })
  return table(
    header,
    rows.filter(([, set, alarm]) => HELD_OUT.includes(set) && !alarm.includes('forest')),
  )
}

function further(results) {
  return `${shifts(results)}

Full fine-tuning again, with every detector's best threshold in hindsight (at most 5 % false alarms; a diagnosis, no result):

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
