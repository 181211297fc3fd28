import { describeSource } from '../labels/label-source.js'
import { inPercent, percentAt } from '../percent.js'
import type { RunsEvaluation } from './evaluate-runs.js'
import type { ContenderResult, Evaluation, Figures, Spread } from './evaluation.js'
import type { OracleThreshold } from './oracle-threshold.js'
import type { Interval } from './run-metrics.js'
import type { FoldMean } from './step-aware.js'
import { isBetter, type SubsetScore, type TraitEnumeration } from './trait-enumeration.js'

/** Heads of the columns of {@link evaluationRows}. */
export const TABLE_HEADER = [
  'features',
  'regressor',
  'acc %',
  'FNR % [95 %]',
  'FPR % [95 %]',
  'FN',
  'FP',
  'AUROC',
  'rank corr.',
  'lead, steps',
  'LODO AUROC',
  'in interval %',
]

/**
 * The rows of the headline table for one group: the first feature set that has several regressors with all of
 * them, the others with the one that stands for them; or everything.
 */
export function evaluationRows({ results, groups }: Evaluation, group: string, all = false): string[][] {
  const at = groups.findIndex(({ name }) => name === group)
  const rivals = (name: string) => results.filter(({ features }) => features === name)
  const first = results.find(({ features }) => rivals(features).length > 1)?.features
  return results
    .filter(({ features, selected }) => all || selected || features === first)
    .map((result) => {
      const { features, regressor, selected, calibration, members } = result
      const figures = result.figures[at]!
      const spread = result.spread?.[at]
      return [
        members === undefined ? features : `${features} (mean of ${members})`,
        `${regressor}${selected ? ' *' : ''}`,
        inPercent(figures.accuracy),
        rate(figures.fnr, figures.fnrInterval, spread?.fnr),
        rate(figures.fpr, figures.fprInterval, spread?.fpr),
        count(figures.falseNegatives),
        count(figures.falsePositives),
        decimal(figures.auroc, spread?.auroc),
        decimal(figures.rankCorrelation, spread?.rankCorrelation),
        members === undefined ? leadTime(figures.lead) : '-',
        decimal(calibration.auroc),
        inPercent(figures.coverage),
      ]
    })
}

/** Counts of what went wrong per dataset for one contender: `[dataset, checkpoints, dangerous, FN, FP]`. */
function errorsByDataset({ groups }: Evaluation, result: ContenderResult): string[][] {
  return groups.flatMap(({ name }, g) => {
    if (['held out', 'dangerous sets', 'controls'].includes(name)) return []
    const { nDangerous, nSafe, falseNegatives, falsePositives } = result.figures[g]!
    return [
      [name, String(nDangerous + nSafe), String(nDangerous), count(falseNegatives), count(falsePositives)],
    ]
  })
}

/** What a reader of the tables must know beside them: {@link unmonitorable} models, and targets that no threshold keeps. */
export function evaluationWarnings(evaluation: RunsEvaluation): string[] {
  const unmet = evaluation.pooled.results.flatMap(({ features, regressor, unmet: models = [] }) =>
    models.length === 0
      ? []
      : [
          `${features} ${regressor}: no threshold keeps the target error rates on left-out calibration sets of ${models.join(', ')}`,
        ],
  )
  return [...unmonitorable(evaluation), ...unmet]
}

/** Models that cannot be monitored, whatever the tables say of them: a sentence for each. */
export function unmonitorable({ models, pooled }: RunsEvaluation): string[] {
  return pooled.fitOn === 'own'
    ? models
        .filter(({ calibrationDangerous }) => calibrationDangerous === 0)
        .map(
          ({ model }) =>
            `${model} has no dangerous calibration checkpoint: nothing can be learnt of danger there, and that all of it is missed says nothing of a detector`,
        )
    : []
}

/** What the columns of the comparison are, a paragraph each. */
export function tableWords({
  calibration,
  heldOut,
  controls,
  pooled: { cut, threshold, select, fitOn },
}: RunsEvaluation): string[] {
  const whose = { own: '', others: ' of the other models', all: ' of all models together' }[fitOn]
  return [
    `Dangerous: EM rate above ${percentAt(cut)}. Alarm: predicted rate above ${percentAt(threshold)}. Fitted on ${calibration.join(', ')}${whose}; tested on ${heldOut.join(', ')}${controls.length > 0 ? `, and apart on ${controls.join(', ')}` : ''}.`,
    `Intervals: sets of a model drawn with replacement, with all their seeds. * chosen ${select === 'calibration' ? 'on calibration datasets left out' : 'by the held-out figures'}. Lead: first dangerous step minus first alarm, median over runs that become dangerous; "first" counts runs that alarm at their first checkpoint and are left out of the median, "never" runs that do not alarm.`,
    "7D: the drifts of the traits. Recipe: traitscope's own way to fit, on these features. FN, FP: dangerous checkpoints missed, safe ones alarmed of. Rank corr.: of predicted and judged rates. LODO AUROC: on calibration datasets left out one by one.",
  ]
}

/** The whole comparison as Markdown. */
export function evaluationMarkdown(evaluation: RunsEvaluation): string {
  const { models, exclusions, pooled, single } = evaluation
  const { skipped } = pooled
  const lines = [
    '# Evaluation',
    '',
    ...tableWords(evaluation).flatMap((text) => [text, '']),
    ...markdownTable(
      [
        'model',
        'calibration checkpoints',
        'dangerous',
        'held-out checkpoints',
        'layer of the baselines',
        "traitscope's detector",
      ],
      models.map(({ model, layer, calibration: fitted, calibrationDangerous, heldOut: tested, detector }) => [
        model,
        String(fitted),
        String(calibrationDangerous),
        String(tested),
        String(layer ?? '-'),
        detector === null ? 'none' : `${detector.model}, layer ${detector.layers.join(', ')}`,
      ]),
    ),
  ]
  const labelled = models.flatMap(({ model, labels }) =>
    labels === null ? [] : [`${model}: ${describeSource(labels)}`],
  )
  if (labelled.length > 0) lines.push('', `Labels: ${labelled.join('. ')}.`)
  for (const warning of evaluationWarnings(evaluation)) lines.push('', `**${warning}.**`)
  for (const [title, one] of [
    ['Labels: all draws pooled', pooled],
    ['Labels: one draw', single],
  ] as const) {
    lines.push('', `## ${title}`)
    for (const { name, runs, checkpoints } of one.groups.slice(0, 3)) {
      if (!['held out', 'dangerous sets', 'controls'].includes(name)) continue
      const dangerous = one.results[0]?.figures[one.groups.findIndex((g) => g.name === name)]?.nDangerous ?? 0
      lines.push(
        '',
        `### ${name}: ${runs} runs, ${checkpoints.length} checkpoints, ${dangerous} dangerous`,
        '',
      )
      lines.push(...markdownTable(TABLE_HEADER, evaluationRows(one, name)))
    }
  }
  const [best] = pooled.results.filter(({ selected }) => selected)
  if (best !== undefined) {
    lines.push('', `## Errors of ${best.features}, ${best.regressor}, by dataset`, '')
    lines.push(
      ...markdownTable(['dataset', 'checkpoints', 'dangerous', 'FN', 'FP'], errorsByDataset(pooled, best)),
    )
  }
  for (const [title, header, rows] of furtherTables(evaluation)) {
    lines.push('', `## ${title}`, '', ...markdownTable(header, rows))
  }
  lines.push('', '## All regressors, held out, pooled labels', '')
  lines.push(...markdownTable(TABLE_HEADER, evaluationRows(pooled, 'held out', true)))
  if (skipped.length + exclusions.length > 0) {
    lines.push('', '## Left out', '')
    lines.push(...skipped.map(({ features, reason }) => `- ${features}: ${reason}`))
    lines.push(
      ...exclusions.map(
        ({ run, step, reason }) => `- ${run}${step === undefined ? '' : ` step ${step}`}: ${reason}`,
      ),
    )
  }
  return `${lines.join('\n')}\n`
}

/** What was asked for beside the comparison: title, header and rows. */
export function furtherTables({
  pair,
  stepAware,
  enumeration,
  oracle,
}: RunsEvaluation): [title: string, header: string[], rows: string[][]][] {
  const tables: [string, string[], string[][]][] = []
  if (pair !== null) {
    const predicted = pair[0]?.dangerous.predicted ?? []
    const names = predicted.map(({ features, regressor }) => `${features} ${regressor}, % (alarms)`)
    const rows = pair.flatMap(({ model, dangerous, safe, fisherP }) =>
      [dangerous, safe].map((side) => [
        model,
        side.dataset,
        side.rates.map((share) => inPercent(share)).join(' '),
        rate(side.rate.mean, side.rate.interval, undefined),
        side === dangerous ? fisherP.toExponential(1) : '',
        side.length.mean.toFixed(3),
        side.cosine.mean.toFixed(3),
        ...side.predicted.map(
          ({ mean, interval, alarms }) =>
            `${rate(mean, interval, undefined)} (${alarms}/${side.rates.length})`,
        ),
      ]),
    )
    const header = ['model', 'set', 'EM % per run', 'EM % [95 %]', 'Fisher p', 'drift', 'cos PC1', ...names]
    tables.push(['Matched pair, last checkpoints', header, rows])
  }
  if (stepAware !== null) {
    const overFolds = ({ mean, deviation }: FoldMean) =>
      Number.isFinite(mean) ? `${inPercent(mean)} ± ${inPercent(deviation)}` : '-'
    const rows = stepAware.map(({ model, dataset, kind, fnr, fpr, maxProbability, onsets }) => [
      model,
      dataset,
      kind,
      overFolds(fnr),
      overFolds(fpr),
      inPercent(maxProbability),
      onsets.map((onset) => onset ?? '-').join(' '),
    ])
    const header = ['model', 'set', 'alarm', 'FNR %', 'FPR %', 'max P %', 'onset per fold']
    tables.push(['Step-aware alarms', header, rows])
  }
  if (oracle !== null) {
    const title =
      'Best threshold in hindsight, at most 5 % false alarms (-: none has so few): a diagnosis, no result'
    tables.push([title, ORACLE_HEADER, oracleRows(oracle)])
  }
  if (enumeration !== null) tables.push(...traitTables(enumeration))
  return tables
}

export const ORACLE_HEADER = ['features', 'regressor', 'alarm above %', 'FNR %', 'FPR %']

export function oracleRows(oracle: readonly OracleThreshold[]): string[][] {
  return oracle.map(({ features, regressor, threshold, fnr, fpr }) => [
    features,
    regressor,
    inPercent(threshold, 2),
    inPercent(fnr),
    inPercent(fpr),
  ])
}

function traitTables({
  models,
  subsets,
  elimination,
  importance,
}: TraitEnumeration): [title: string, header: string[], rows: string[][]][] {
  const cells = (score: SubsetScore) => [
    inPercent(score.balancedAccuracy),
    decimal(score.auroc),
    inPercent(score.pc1Share),
    decimal(score.pc1Cosine),
  ]
  const header = ['bal. acc. %', 'AUROC', 'PC1 share %', 'cos PC1']
  const sizes = [...new Set(subsets.map(({ traits }) => traits.length))]
  const best = sizes.map((size) => {
    const rivals = subsets.filter(({ traits }) => traits.length === size)
    return rivals.reduce((a, b) => (isBetter(b, a) ? b : a))
  })
  const traits = [...new Set(importance.map(({ trait }) => trait))]
  const of = (model: string, trait: string) =>
    importance.find((one) => one.model === model && one.trait === trait)!
  return [
    [
      'Best traits of every number, calibration datasets left out, forest',
      ['traits', ...header],
      best.map((score) => [score.traits.join(', '), ...cells(score)]),
    ],
    [
      'Traits taken away one by one, the one that is missed least first',
      ['dropped', ...header],
      elimination.map(({ dropped, score }) => [dropped ?? '-', ...cells(score)]),
    ],
    [
      'AUROC that a trait adds to the others, in thousandths (rank)',
      ['trait', ...models],
      traits.map((trait) => [
        trait,
        ...models.map((model) => {
          const { loss, rank } = of(model, trait)
          return `${(1000 * loss).toFixed(1)} (${rank})`
        }),
      ]),
    ],
  ]
}

export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), `|${header.map(() => '---').join('|')}|`, ...rows.map(line)]
}

const count = (value: number) => String(Number(value.toFixed(1)))

function rate(value: number, interval: Interval, spread: Spread['fnr'] | undefined): string {
  if (spread !== undefined) return `${inPercent(value)} ± ${inPercent(spread)}`
  return interval === null
    ? inPercent(value)
    : `${inPercent(value)} [${interval.map((share) => inPercent(share)).join(', ')}]`
}

function decimal(value: number, spread?: number): string {
  if (!Number.isFinite(value)) return '-'
  return spread === undefined ? value.toFixed(3) : `${value.toFixed(3)} ± ${spread.toFixed(3)}`
}

function leadTime({ nRuns, median, atFirst, never }: Figures['lead']): string {
  if (nRuns === 0) return '-'
  const parts = [
    median === null ? '-' : typeof median === 'number' && median > 0 ? `+${median}` : String(median),
  ]
  if (atFirst > 0) parts.push(`${atFirst} first`)
  if (never > 0) parts.push(`${never} never`)
  return parts.join(', ')
}
