import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { takeOptions } from '../arguments.js'
import { publishFolder } from '../formats/files/atomic.js'
import { csvLine } from '../report/csv.js'
import { barChart } from '../report/svg.js'
import type { RunsEvaluation } from './evaluate-runs.js'
import type { Evaluation } from './evaluation.js'
import { evaluationMarkdown } from './evaluation-table.js'

const EVALUATION_FILE = 'evaluation.json'

/** Every figure of every contender and group, one line each. */
export function evaluationCsv({ pooled, single }: RunsEvaluation): string {
  const lines = [
    csvLine([
      'labels',
      'group',
      'features',
      'regressor',
      'selected',
      'checkpoints',
      'dangerous',
      'accuracy',
      'fnr',
      'fnr_low',
      'fnr_high',
      'fpr',
      'fpr_low',
      'fpr_high',
      'fn',
      'fp',
      'auroc',
      'rank_correlation',
      'lead_median',
      'lead_runs',
      'lead_never',
      'lead_at_first',
      'lodo_balanced_accuracy',
      'lodo_auroc',
      'interval_coverage',
    ]),
  ]
  for (const { labels, groups, results } of [pooled, single]) {
    for (const { features, regressor, selected, calibration, figures } of results) {
      for (const [g, one] of figures.entries()) {
        const { lead, fnrInterval, fprInterval } = one
        lines.push(
          csvLine([
            labels,
            groups[g]!.name,
            features,
            regressor,
            selected ? 1 : 0,
            one.nDangerous + one.nSafe,
            one.nDangerous,
            one.accuracy,
            one.fnr,
            ...(fnrInterval ?? [null, null]),
            one.fpr,
            ...(fprInterval ?? [null, null]),
            one.falseNegatives,
            one.falsePositives,
            one.auroc,
            one.rankCorrelation,
            lead.median,
            lead.nRuns,
            lead.never,
            lead.atFirst,
            calibration.balancedAccuracy,
            calibration.auroc,
            one.coverage ?? null,
          ]),
        )
      }
    }
  }
  return `${lines.join('\n')}\n`
}

/** Predicted and true rate of every held-out checkpoint, for the contenders that stand for their feature sets. */
export function predictionsCsv({ pooled: { results }, checkpoints }: RunsEvaluation): string {
  const chosen = results.filter(({ selected, predictions }) => selected && predictions !== undefined)
  const header = [
    'run',
    'step',
    'em',
    'em_one_draw',
    ...chosen.map(({ features, regressor }) => `${features} ${regressor}`),
  ]
  const lines = checkpoints.map(({ run, step, pooled, single }, i) =>
    csvLine([run, step, pooled, single, ...chosen.map(({ predictions }) => predictions![i]!)]),
  )
  return `${[csvLine(header), ...lines].join('\n')}\n`
}

/** Miss and false-alarm rates of the contenders that stand for their feature sets. */
export function evaluationChart({ results }: Evaluation): string {
  const chosen = results.filter(({ selected }) => selected)
  const share = (value: number) => (Number.isFinite(value) ? 100 * value : null)
  return barChart({
    title: 'Held-out runs: missed dangerous and alarmed safe checkpoints',
    y: { label: '%', min: 0 },
    categories: chosen.map(({ features }) => features),
    series: [
      { name: 'missed (FNR)', values: chosen.map(({ figures }) => share(figures[0]!.fnr)) },
      { name: 'false alarms (FPR)', values: chosen.map(({ figures }) => share(figures[0]!.fpr)) },
    ],
  })
}

/**
 * Writes a folder with `evaluation.json`, `evaluation.md`, `evaluation.csv`, `predictions.csv` and
 * `evaluation.svg`, as a whole.
 *
 * @throws TraitscopeError FILE_EXISTS unless `force`; with it, only an earlier evaluation is replaced
 */
export async function saveEvaluation(
  evaluation: RunsEvaluation,
  folder: string,
  options: { force?: boolean | undefined } = {},
): Promise<void> {
  const { force = false } = takeOptions('saveEvaluation', options, { force: 'boolean' })
  const files = {
    [EVALUATION_FILE]: `${JSON.stringify(evaluation, null, 1)}\n`,
    'evaluation.md': evaluationMarkdown(evaluation),
    'evaluation.csv': evaluationCsv(evaluation),
    'predictions.csv': predictionsCsv(evaluation),
    'evaluation.svg': evaluationChart(evaluation.pooled),
  }
  await publishFolder(
    folder,
    async (temporary) => {
      for (const [name, text] of Object.entries(files)) await writeFile(join(temporary, name), text)
    },
    { force, marker: EVALUATION_FILE },
  )
}
