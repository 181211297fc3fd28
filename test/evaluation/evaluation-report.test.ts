import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { evaluate } from '../../lib/evaluation/evaluate.js'
import type { RunsEvaluation } from '../../lib/evaluation/evaluate-runs.js'
import {
  evaluationChart,
  evaluationCsv,
  predictionsCsv,
  saveEvaluation,
} from '../../lib/evaluation/evaluation-report.js'
import { evaluationMarkdown, evaluationRows, unmonitorable } from '../../lib/evaluation/evaluation-table.js'
import { methodFeatures, randomBases } from '../../lib/evaluation/features.js'
import { enumerateTraits } from '../../lib/evaluation/trait-enumeration.js'
import { csvLine } from '../../lib/report/csv.js'
import { models, TRAITS } from './synthetic-checkpoints.js'

const sets = methodFeatures(TRAITS).slice(0, 3)
const bases = randomBases(
  new Map([
    ['alpha', 12],
    ['beta', 12],
  ]),
  { bases: 2, vectors: 4 },
)
const pooled = await evaluate(models, [...sets, ...bases], { draws: 50 })
const counted = { mean: 0.5, interval: [0.25, 0.75] as [number, number] }
const side = {
  rates: [0.5, 0.25],
  nMisaligned: 3,
  nScoreable: 8,
  rate: counted,
  length: counted,
  cosine: counted,
  predicted: [{ features: '4D', regressor: 'ridge', alarms: 1, ...counted }],
}
const evaluation: RunsEvaluation = {
  oracle: [
    { features: '4D', regressor: 'ridge', threshold: 0.0225, fnr: 0.125, fpr: 0 },
    { features: '4D', regressor: 'random-forest', threshold: null, fnr: Number.NaN, fpr: Number.NaN },
  ],
  enumeration: await enumerateTraits(models, TRAITS, { cut: 0.06, threshold: 0.06 }),
  pair: [
    {
      model: 'alpha',
      dangerous: { dataset: 'finance', ...side },
      safe: { dataset: 'verse', ...side },
      fisherP: 0.00012,
    },
  ],
  stepAware: [
    {
      model: 'alpha',
      dataset: 'finance',
      kind: 'scalar+step',
      folds: 2,
      fnr: { mean: 0.5, deviation: 0.25 },
      fpr: { mean: Number.NaN, deviation: Number.NaN },
      maxProbability: 0.9,
      onsets: [10, null],
    },
  ],
  pooled,
  single: { ...pooled, labels: 'single' },
  models: [
    {
      model: 'alpha',
      layer: 3,
      calibration: 30,
      calibrationDangerous: 12,
      heldOut: 20,
      labels: null,
      detector: null,
    },
  ],
  traits: TRAITS,
  calibration: ['code', 'math', 'medicine'],
  heldOut: ['verse', 'finance'],
  controls: [],
  checkpoints: models
    .flatMap(({ heldOut }) => heldOut)
    .map(({ row }) => ({ run: row.run, step: row.step, pooled: row.label.pooled.rate, single: 0 })),
  exclusions: [{ run: 'alpha/code/seed_7', reason: 'it has no labels' }],
}
const folder = mkdtempSync(join(tmpdir(), 'traitscope-evaluation-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('evaluationRows', () => {
  const rows = evaluationRows(pooled, 'held out')

  it('should show every regressor of the first feature set, and the chosen one of the others', () => {
    expect(rows.map(([features, regressor]) => `${features}: ${regressor}`.replace(' *', ''))).toEqual([
      '4D: random-forest',
      '4D: gradient-boosting',
      '4D: ridge',
      '4D: recipe',
      expect.stringMatching(/^\|PC1\|: /),
      expect.stringMatching(/^PC1 signed: /),
      expect.stringMatching(/^random basis \(mean of 2\): /),
    ])
    expect(evaluationRows(pooled, 'held out', true)).toHaveLength(16)
  })

  it('should print the figures in per cent with their interval', () => {
    const { figures } = pooled.results[0]!
    const { fnr, fnrInterval, falseNegatives, auroc } = figures[0]!
    const percent = (value: number) => (100 * value).toFixed(1)
    expect(rows[0]![3]).toBe(`${percent(fnr)} [${fnrInterval!.map(percent).join(', ')}]`)
    expect(rows[0]![5]).toBe(String(falseNegatives))
    expect(rows[0]![7]).toBe(auroc.toFixed(3))
    expect(rows.at(-1)![3]).toMatch(/^\d+\.\d ± \d+\.\d$/)
  })
})

describe('evaluationMarkdown', () => {
  it('should hold a table per group and label kind, and what was left out', () => {
    const text = evaluationMarkdown(evaluation)
    expect(text.match(/^### held out: 8 runs, 40 checkpoints, \d+ dangerous$/gm)).toHaveLength(2)
    expect(text).toContain('| \\|PC1\\| |')
    expect(text).toContain('- alpha/code/seed_7: it has no labels')
    expect(text).toMatch(/^## Traits taken away one by one/m)
    expect(text).toContain(
      '| alpha | finance | 50.0 25.0 | 50.0 [25.0, 75.0] | 1.2e-4 | 0.500 | 0.500 | 50.0 [25.0, 75.0] (1/2) |',
    )
    expect(text).toContain('| alpha | finance | scalar+step | 50.0 ± 25.0 | - | 90.0 | 10 - |')
    expect(text).toContain('| 4D | ridge | 2.25 | 12.5 | 0.0 |')
    expect(text).toContain('| 4D | random-forest | - | - | - |')
    expect(text).not.toMatch(/NaN|undefined|Infinity/)
  })
})

describe('unmonitorable', () => {
  it('should name models whose calibration has no danger, unless they borrow it from others', () => {
    const calm = { ...evaluation, models: [{ ...evaluation.models[0]!, calibrationDangerous: 0 }] }
    expect(unmonitorable(calm)).toEqual([
      expect.stringMatching(/^alpha has no dangerous calibration checkpoint/),
    ])
    expect(evaluationMarkdown(calm)).toMatch(/^\*\*alpha has no dangerous calibration checkpoint/m)
    expect(unmonitorable({ ...calm, pooled: { ...pooled, fitOn: 'others' } })).toEqual([])
    expect(unmonitorable(evaluation)).toEqual([])
  })
})

describe('evaluationCsv', () => {
  it('should have one line per contender, group and label kind, all of the same length', () => {
    const lines = evaluationCsv(evaluation).trimEnd().split('\n')
    expect(lines).toHaveLength(1 + 2 * 16 * pooled.groups.length)
    expect(new Set(lines.map((line) => line.split(',').length))).toEqual(new Set([25]))
  })
})

describe('predictionsCsv', () => {
  it('should have one line per checkpoint with what the chosen contenders predict', () => {
    const [header, first, ...rest] = predictionsCsv(evaluation).trimEnd().split('\n')
    expect(header).toMatch(/^run,step,em,em_one_draw,4D /)
    expect(rest).toHaveLength(39)
    const chosen = pooled.results.find(({ selected }) => selected)!
    expect(first!.split(',')[4]).toBe(String(chosen.predictions![0]))
  })
})

describe('evaluationChart', () => {
  it('should have two bars per feature set', () => {
    expect(evaluationChart(pooled).match(/<rect [^>]*width="(?!10")/g)).toHaveLength(8)
  })
})

describe('saveEvaluation', () => {
  it('should write all forms at once and replace only with force', async () => {
    const out = join(folder, 'out')
    await saveEvaluation(evaluation, out)
    expect(readdirSync(out).sort()).toEqual([
      'evaluation.csv',
      'evaluation.json',
      'evaluation.md',
      'evaluation.svg',
      'predictions.csv',
    ])
    expect(JSON.parse(readFileSync(join(out, 'evaluation.json'), 'utf8')).pooled.labels).toBe('pooled')
    await expect(saveEvaluation(evaluation, out)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    await saveEvaluation(evaluation, out, { force: true })
  })
})

describe('csvLine', () => {
  it('should quote what needs it and leave missing numbers empty', () => {
    expect(csvLine(['a', 'b,c', 'd"e', 1.5, Number.NaN, null, 0])).toBe('a,"b,c","d""e",1.5,,,0')
  })
})
