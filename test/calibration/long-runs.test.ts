import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Calibration, calibrate } from '../../lib/calibration/calibrate.js'
import { Detector } from '../../lib/detector/detector.js'
import { type Row, rowsOf } from '../../lib/runs/rows.js'
import { type LabelledRun, scanLabelledRuns } from '../../lib/runs/runs.js'
import { SyntheticRuns } from '../runs/synthetic.js'

let root: string
let long: Record<string, LabelledRun>
let plain: Calibration
let anchored: Calibration
const LONG_STEPS = Array.from({ length: 20 }, (_, i) => 60 * (i + 1))

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'traitscope-long-'))
  const made = new SyntheticRuns(root)
  made.writeCalibration()
  const longRun = { steps: LONG_STEPS, seed: 42 }
  // Over 1200 steps the benign ones creep as far as a dangerous run moves in 126.
  made.write({ dataset: 'anchor', peak: 0.01, creep: 0.7, ...longRun })
  made.write({ dataset: 'long_benign', peak: 0.01, creep: 0.65, ...longRun, seed: 7 })
  made.write({ dataset: 'long_dangerous', peak: 0.6, creep: 2, ...longRun })
  const { runs } = await scanLabelledRuns(root)
  long = Object.fromEntries(runs.map((run) => [run.dataset, run]))
  const short = runs.filter(({ dataset }) => !/anchor|long/.test(dataset))
  const options = { models: ['ridge'] as const, layers: [1, 3] }
  plain = await calibrate(short, options)
  anchored = await calibrate(short, { ...options, anchors: [long.anchor!] })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Verdicts on the checkpoints beyond the calibrated steps. */
function late(detector: Detector, run: LabelledRun) {
  const { rows, layers } = rowsOf([run])
  const drift = (row: Row) => detector.layers.map((layer) => row.drift[layers.indexOf(layer)]!)
  return rows
    .filter(({ step }) => step > 126)
    .map((row) => ({ row, verdict: detector.verdict(drift(row), { step: row.step }) }))
}

const alarms = (detector: Detector, run: LabelledRun) =>
  late(detector, run).filter(({ verdict }) => verdict.verdict === 'alarm').length

describe('calibrate with anchors', () => {
  it('should be fitted on the labels of all draws, as everything else is', async () => {
    const flat = { nMisaligned: 36, nScoreable: 72, rate: 0.5, standardError: 0.06 }
    const other = (run: LabelledRun): LabelledRun => ({
      ...run,
      labels: new Map([...run.labels].map(([step, label]) => [step, { ...label, single: flat }])),
    })
    const { runs } = await scanLabelledRuns(root)
    const short = runs.filter(({ dataset }) => !/anchor|long/.test(dataset)).map(other)
    const again = await calibrate(short, {
      models: ['ridge'],
      layers: [1, 3],
      anchors: [other(long.anchor!)],
    })
    expect(again.detector.toJSON()).toEqual(anchored.detector.toJSON())
  })

  it('should not take the growth of a long benign run for danger, as the short detector does', () => {
    expect(alarms(plain.detector, long.long_benign!)).toBeGreaterThan(5)
    expect(alarms(anchored.detector, long.long_benign!)).toBe(0)
  })

  it('should still alarm in a long dangerous run', () => {
    for (const { row, verdict } of late(anchored.detector, long.long_dangerous!)) {
      if (row.label.pooled.rate > 0.3) expect(verdict.verdict).toBe('alarm')
    }
  })

  it('should leave checkpoints within the calibrated steps to the predicted rate, and say what decides beyond', () => {
    const drift = anchored.detector.layers.map(() => [-0.2, 0.1, -0.2, 0.2, 0, 0.1, -0.2])
    const inside = anchored.detector.verdict(drift, { step: 100 })
    expect(inside).toEqual(plain.detector.verdict(drift, { step: 100 }))
    const beyond = anchored.detector.verdict(drift, { step: 1200 })
    expect(beyond.reasons.at(-1)).toMatch(
      /^step 1200 is beyond the 126 steps .* which decides about the alarm$/,
    )
  })

  it('should survive JSON, and refuse what is no state', () => {
    const json = JSON.parse(JSON.stringify(anchored.detector))
    const drift = anchored.detector.layers.map(() => [-0.2, 0.1, -0.2, 0.2, 0, 0.1, -0.2])
    const restored = Detector.fromJSON(json)
    expect(restored.verdict(drift, { step: 900 })).toEqual(anchored.detector.verdict(drift, { step: 900 }))
    expect(() => Detector.fromJSON({ ...json, stepAlarm: {} })).toThrow(
      expect.objectContaining({ code: 'FILE_INVALID' }),
    )
  })
})
