import type { ContenderResult, Evaluation, Figures, Spread } from '../detector/evaluate.js'
import type { RunsEvaluation } from '../detector/evaluate-runs.js'
import type { Interval } from '../detector/run-metrics.js'

/** The same comparison with both kinds of labels. */
export interface EvaluationPair {
  /** All draws of answers together: the truth. */
  pooled: RunsEvaluation
  /** The first draw alone, as the reference has it. */
  single: RunsEvaluation
}

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
]

/**
 * The rows of the headline table for one group: the first feature set with every regressor, the others with
 * the one that stands for them, or all.
 */
export function evaluationRows({ results, groups }: Evaluation, group: string, all = false): string[][] {
  const at = groups.findIndex(({ name }) => name === group)
  const first = results[0]?.features
  return results
    .filter(({ features, selected }) => all || selected || features === first)
    .map((result) => {
      const { features, regressor, selected, calibration, members } = result
      const figures = result.figures[at]!
      const spread = result.spread?.[at]
      return [
        members === undefined ? features : `${features} (mean of ${members})`,
        `${regressor}${selected ? ' *' : ''}`,
        percent(figures.accuracy),
        rate(figures.fnr, figures.fnrInterval, spread?.fnr),
        rate(figures.fpr, figures.fprInterval, spread?.fpr),
        count(figures.falseNegatives),
        count(figures.falsePositives),
        decimal(figures.auroc, spread?.auroc),
        decimal(figures.rankCorrelation, spread?.rankCorrelation),
        members === undefined ? leadTime(figures.lead) : '-',
        decimal(calibration.auroc),
      ]
    })
}

/** Counts of what went wrong per dataset for one contender: `[dataset, checkpoints, dangerous, FN, FP]`. */
export function errorsByDataset({ groups }: Evaluation, result: ContenderResult): string[][] {
  return groups.flatMap(({ name }, g) => {
    if (['held out', 'dangerous sets', 'controls'].includes(name)) return []
    const { nDangerous, nSafe, falseNegatives, falsePositives } = result.figures[g]!
    return [
      [name, String(nDangerous + nSafe), String(nDangerous), count(falseNegatives), count(falsePositives)],
    ]
  })
}

/** The whole comparison as Markdown. */
export function evaluationMarkdown({ pooled, single }: EvaluationPair): string {
  const { cut, threshold, select, models, calibration, heldOut, controls, skipped, exclusions } = pooled
  const lines = [
    '# Evaluation',
    '',
    `Dangerous: EM rate above ${percent(cut)} %. Alarm: predicted rate above ${percent(threshold)} %. Fitted on ${calibration.join(', ')}; judged on ${heldOut.join(', ')}${controls.length > 0 ? `, and apart on ${controls.join(', ')}` : ''}.`,
    '',
    `Intervals: runs drawn with replacement. * chosen ${select === 'calibration' ? 'on calibration datasets left out' : 'by the held-out figures'}. Lead: first dangerous step minus first alarm, median over runs that become dangerous; "first" counts runs that alarm at their first checkpoint and are left out of the median, "never" runs that do not alarm.`,
    '',
    ...markdownTable(
      ['model', 'layer', 'calibration checkpoints', 'held-out checkpoints'],
      models.map((one) => [
        one.model,
        String(one.layer ?? '-'),
        String(one.calibration),
        String(one.heldOut),
      ]),
    ),
  ]
  for (const [title, evaluation] of [
    ['Labels: all draws pooled', pooled],
    ['Labels: one draw', single],
  ] as const) {
    lines.push('', `## ${title}`)
    for (const { name, runs, checkpoints } of evaluation.groups.slice(0, 3)) {
      if (!['held out', 'dangerous sets', 'controls'].includes(name)) continue
      const dangerous =
        evaluation.results[0]?.figures[evaluation.groups.findIndex((g) => g.name === name)]?.nDangerous ?? 0
      lines.push(
        '',
        `### ${name}: ${runs} runs, ${checkpoints.length} checkpoints, ${dangerous} dangerous`,
        '',
      )
      lines.push(...markdownTable(TABLE_HEADER, evaluationRows(evaluation, name)))
    }
  }
  const [best] = pooled.results.filter(({ selected }) => selected)
  if (best !== undefined) {
    lines.push('', `## Errors of ${best.features}, ${best.regressor}, by dataset`, '')
    lines.push(
      ...markdownTable(['dataset', 'checkpoints', 'dangerous', 'FN', 'FP'], errorsByDataset(pooled, best)),
    )
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

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), `|${header.map(() => '---').join('|')}|`, ...rows.map(line)]
}

const percent = (share: number) => (Number.isFinite(share) ? (100 * share).toFixed(1) : '-')
const count = (value: number) => String(Number(value.toFixed(1)))

function rate(value: number, interval: Interval, spread: Spread['fnr'] | undefined): string {
  if (spread !== undefined) return `${percent(value)} ± ${percent(spread)}`
  return interval === null ? percent(value) : `${percent(value)} [${interval.map(percent).join(', ')}]`
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
