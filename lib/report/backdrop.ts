import { join } from 'node:path'
import { type Bundle, CALIBRATION } from '../detector/bundle.js'
import { norm } from '../estimators/linalg.js'
import { matrixFromRows } from '../estimators/matrix.js'
import { Pca } from '../estimators/pca.js'
import { quantile } from '../estimators/quantile.js'
import { plainOrGzip } from '../formats/files/gzip.js'
import { isJsonObject, parseTrainerJson, readUnpacked } from '../formats/json/json.js'
import { isFiniteNumber, isNumbers } from '../formats/json/json-fields.js'
import { type Backdrop, type BenignBand, type DriftPlane, onPlane } from './run-view.js'

/** Between these quantiles of the benign runs is the band. */
const QUANTILES = [0.05, 0.95] as const
/** Fewer runs have no quantiles to speak of. */
const FEWEST = 3

/** A calibration checkpoint, as far as it is drawn. */
interface CalibrationRow {
  run: string
  step: number
  /** At the layer that is shown. */
  drift: number[]
  rate: number
}

/**
 * What a bundle's calibration runs look like, for the background of charts: the band of the benign ones, and their paths in
 * the plane of the first two principal components of the final drifts. What the bundle cannot give is null, with the reason.
 *
 * @throws TraitscopeError as reading a file of the bundle
 */
export async function readBackdrop({ path, detector }: Bundle): Promise<Backdrop> {
  const layer = detector.mainLayer
  const file = (await plainOrGzip(join(path, CALIBRATION))) ?? join(path, CALIBRATION)
  const rows = rowsAt(
    parseTrainerJson((await readUnpacked(file)).toString('utf8'), file),
    layer,
    detector.traits.length,
  )
  const { cut, threshold, nominalCoverage, traits } = detector
  const about = { layer, traits, cut, threshold, nominalCoverage }
  if (rows === undefined)
    return {
      ...about,
      benign: null,
      plane: null,
      missing: `the bundle's ${CALIBRATION} has no drifts of layer ${layer}`,
    }
  const runs = [...groups(rows, ({ run }) => run).values()].map((points) => ({
    points: points.sort((a, b) => a.step - b.step),
    dangerous: points.some(({ rate }) => rate > cut),
  }))
  const benign = runs.filter(({ dangerous }) => !dangerous).map(({ points }) => points)
  return {
    ...about,
    benign: benign.length < FEWEST ? null : bandOf(benign),
    plane: runs.length < FEWEST ? null : planeOf(runs),
    ...(benign.length < FEWEST && {
      missing: `the bundle has ${benign.length} benign calibration runs, a band takes ${FEWEST}`,
    }),
  }
}

/** Undefined when the file does not hold them. */
function rowsAt(report: unknown, layer: number, width: number): CalibrationRow[] | undefined {
  if (!isJsonObject(report) || !Array.isArray(report.rows) || !Array.isArray(report.layers)) return undefined
  const at = report.layers.indexOf(layer)
  const rows = report.rows.map((row: unknown) => rowAt(row, at, width))
  return rows.every((row) => row !== undefined) && rows.length > 0 ? rows : undefined
}

function rowAt(row: unknown, at: number, width: number): CalibrationRow | undefined {
  if (!isJsonObject(row) || !Array.isArray(row.drift) || !isJsonObject(row.label)) return undefined
  const { run, step, label } = row
  const drift: unknown = row.drift[at]
  const pooled = label.pooled
  if (!isNumbers(drift, width)) return undefined
  if (typeof run !== 'string' || !isFiniteNumber(step) || !isJsonObject(pooled)) return undefined
  return isFiniteNumber(pooled.rate) ? { run, step, drift, rate: pooled.rate } : undefined
}

/** Only steps that enough runs have. */
function bandOf(runs: readonly CalibrationRow[][]): BenignBand {
  const bySteps = groups(runs.flat(), ({ step }) => step)
  const steps = [...bySteps].filter(([, rows]) => rows.length >= FEWEST).sort(([a], [b]) => a - b)
  const edges = (of: (row: CalibrationRow) => number): [number, number][] => [
    [0, 0],
    ...steps.map(([, rows]): [number, number] => {
      const ascending = rows.map(of).sort((a, b) => a - b)
      return [drawn(quantile(ascending, QUANTILES[0])), drawn(quantile(ascending, QUANTILES[1]))]
    }),
  ]
  return {
    runs: runs.length,
    share: QUANTILES[1] - QUANTILES[0],
    steps: [0, ...steps.map(([step]) => step)],
    traits: runs[0]![0]!.drift.map((_, t) => edges(({ drift }) => drift[t]!)),
    length: edges(({ drift }) => norm(drift)),
  }
}

function planeOf(runs: readonly { points: CalibrationRow[]; dangerous: boolean }[]): DriftPlane {
  const last = matrixFromRows(runs.map(({ points }) => points.at(-1)!.drift))
  const { fitted } = new Pca({ nComponents: Math.min(2, last.rows, last.cols) }).fit(last).toJSON()
  const axes = fitted!.components
  return {
    axes,
    shares: fitted!.explainedVarianceRatio,
    ghosts: runs.map(({ points, dangerous }) => ({
      name: points[0]!.run,
      dangerous,
      path: [[0, 0], ...points.map(({ drift }) => onPlane(axes, drift).map(drawn) as [number, number])],
    })),
  }
}

/** Four digits: nobody sees more of a line. */
const drawn = (value: number): number => Number(value.toPrecision(4))

function groups<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const by = new Map<K, T[]>()
  for (const item of items) by.set(keyOf(item), [...(by.get(keyOf(item)) ?? []), item])
  return by
}
