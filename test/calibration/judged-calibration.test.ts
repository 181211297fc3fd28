import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { calibrate } from '../../lib/calibration/judged-calibration.js'
import { saveBundle } from '../../lib/calibration/save-bundle.js'
import { loadBundle } from '../../lib/detector/bundle.js'
import type { JudgeCheck } from '../../lib/labels/judges/judge-check.js'
import { type LabelledRun, scanLabelledRuns } from '../../lib/runs/runs.js'
import { fakePack } from '../directions/fake-model.js'
import { SyntheticRuns, syntheticDirections } from '../runs/synthetic.js'

let root: string
let runs: LabelledRun[]
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'traitscope-judged-'))
  const made = new SyntheticRuns(join(root, 'cal'))
  made.writeCalibration()
  runs = (await scanLabelledRuns(made.root)).runs
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const judge = { kind: 'endpoint' as const, name: 'my-judge', version: null, reader: 'sampled' as const }
const check = (low: number) =>
  ({
    ...{ schemaVersion: 1, kind: 'traitscope-judge-check', judge, parseFailures: 0 },
    ...{ answers: { n: 130 }, auroc: { pooled: low, within: low + 0.05, low } },
  }) as unknown as JudgeCheck

/** The runs with a judge; what is known of it differs from run to run. */
const judgedBy = (checkOf: (i: number) => JudgeCheck | null) =>
  runs.map((run, i) => ({
    ...run,
    source: { judge, questionsSha256: 'q', rule: 'reference' as const, check: checkOf(i) },
  }))
const options = { models: ['ridge' as const], layers: [3] }

describe('calibrate', () => {
  it('should refuse a judge that is no good, whichever run knows it', async () => {
    for (const weak of [
      judgedBy(() => check(0.5)),
      judgedBy((i) => [null, check(0.8), check(0.5)][i % 3]!),
    ]) {
      await expect(calibrate(weak, options)).rejects.toMatchObject({ code: 'JUDGE' })
      await expect(calibrate(weak, options)).rejects.toThrow(/my-judge.*lower 90 % bound 0.50/)
      const { report } = await calibrate(weak, { ...options, allowWeakJudge: true })
      expect(report.warnings.filter((text) => text.includes('not to be relied on'))).toHaveLength(1)
    }
    const [anchor] = judgedBy(() => check(0.5))
    const fine = judgedBy(() => check(0.8))
    await expect(
      calibrate(
        fine.filter(({ id }) => id !== anchor!.id),
        { ...options, anchors: [anchor!] },
      ),
    ).rejects.toMatchObject({ code: 'JUDGE' })
  })

  it('should say when the labels call the base itself dangerous', async () => {
    const { report } = await calibrate(runs, options)
    expect(report.warnings.filter((text) => text.includes('before any training'))).toEqual([])
    const harsh = runs.map((run) => {
      const labels = new Map(run.labels)
      const start = labels.get(0)!
      const pooled = { ...start.pooled, nMisaligned: Math.round(start.pooled.nScoreable / 4) }
      return { ...run, labels: labels.set(0, { ...start, pooled }) }
    })
    const { warnings } = (await calibrate(harsh, options)).report
    expect(warnings).toContainEqual(
      expect.stringMatching(/base answers 2\d\.\d % misaligned before any training.*cut of 6\.0 %/),
    )
    const higher = await calibrate(harsh, { ...options, cut: 0.3 })
    expect(higher.report.warnings.join()).not.toContain('before any training')
  })

  it('should hand on who labelled, to the bundle too', async () => {
    const pack = { ...fakePack(), source: 'core', contentHash: 'c'.repeat(64) }
    const unchecked = await calibrate(
      judgedBy(() => null),
      options,
    )
    expect(unchecked.report.warnings).toContainEqual(expect.stringMatching(/nobody has checked.*my-judge/))
    const calibration = await calibrate(
      judgedBy((i) => (i === 0 ? null : check(0.8))),
      options,
    )
    expect(calibration.labels).toMatchObject({ judge, check: { auroc: { low: 0.8 } } })
    const folder = join(root, 'bundle')
    await saveBundle(calibration, { directions: syntheticDirections(), pack }, folder)
    expect((await loadBundle(folder)).labels).toEqual(calibration.labels)
    expect(readFileSync(join(folder, 'bundle.json'), 'utf8')).toContain('"my-judge"')
    expect((await calibrate(runs, options)).labels).toBeUndefined()
  })
})
