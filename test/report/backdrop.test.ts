import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bundle, loadBundle } from '../../lib/detector/bundle.js'
import { readBackdrop } from '../../lib/report/backdrop.js'
import type { Row } from '../../lib/runs/rows.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-backdrop-'))
afterAll(() => rmSync(folder, { recursive: true }))

let bundle: Bundle
let report: { rows: Row[]; layers: number[] }
beforeAll(async () => {
  cpSync('organisms/bundles/gemma2', folder, { recursive: true })
  bundle = await loadBundle(folder)
  report = JSON.parse(gunzipSync(readFileSync(join(folder, 'calibration.json.gz'))).toString())
})

describe('readBackdrop', () => {
  it('should take the benign runs at the layer that is shown', async () => {
    const { layer, benign } = await readBackdrop(bundle)
    const dangerous = new Set(
      report.rows.filter(({ label }) => label.pooled.rate > 0.06).map(({ run }) => run),
    )
    const benignRows = report.rows.filter(({ run }) => !dangerous.has(run))
    expect(benign!.runs).toBe(new Set(benignRows.map(({ run }) => run)).size)
    const at = report.layers.indexOf(layer)
    const values = benignRows.filter(({ step }) => step === 60).map(({ drift }) => drift[at]![2]!)
    const [low, high] = benign!.traits[2]![benign!.steps.indexOf(60)]!
    expect(values.filter((value) => value < low).length).toBeLessThanOrEqual(1)
    expect(values.filter((value) => value > high).length).toBeLessThanOrEqual(1)
    expect(low).toBeGreaterThanOrEqual(Math.min(...values) - 1e-4)
    expect(benign!.traits[2]![0]).toEqual([0, 0])
  })

  it('should draw every calibration run from the base outwards', async () => {
    const { plane } = await readBackdrop(bundle)
    expect(plane!.ghosts).toHaveLength(new Set(report.rows.map(({ run }) => run)).size)
    expect(plane!.ghosts.every(({ path }) => path[0]!.join() === '0,0' && path.length === 14)).toBe(true)
    const [a, b] = plane!.axes
    const dot = (x: readonly number[], y: readonly number[]) =>
      x.reduce((sum, value, i) => sum + value * y[i]!, 0)
    expect(dot(a!, a!)).toBeCloseTo(1, 9)
    expect(dot(b!, b!)).toBeCloseTo(1, 9)
    expect(dot(a!, b!)).toBeCloseTo(0, 9)
    expect(plane!.shares[0]).toBeGreaterThan(plane!.shares[1]!)
  })

  it('should say what a bundle does not hold', async () => {
    const save = (content: object) =>
      writeFileSync(join(folder, 'calibration.json.gz'), gzipSync(JSON.stringify(content)))
    save({ ...report, rows: [] })
    expect(await readBackdrop(bundle)).toMatchObject({
      benign: null,
      plane: null,
      missing: "the bundle's calibration.json has no drifts of layer 2",
    })
    save({ ...report, rows: report.rows.filter(({ label }) => label.pooled.rate > 0.3) })
    expect(await readBackdrop(bundle)).toMatchObject({
      benign: null,
      missing: 'the bundle has 0 benign calibration runs, a band takes 3',
    })
  })
})
