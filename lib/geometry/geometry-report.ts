import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { takeOptions } from '../arguments.js'
import { publishFolder } from '../formats/files/atomic.js'
import { inPercent, percent } from '../percent.js'
import { barChart, scatterChart } from '../report/svg.js'
import type { RunGeometry } from './run-geometry.js'

const GEOMETRY_FILE = 'geometry.json'

/** Loadings of the first axis per trait: all runs together, and every model. */
export function loadingsChart({ traits, pooled, models }: RunGeometry): string {
  const share = inPercent(pooled.shares[0])
  const alone = models.length < 2 ? [] : models
  return barChart({
    title: `First axis of the final drifts: ${share} % of their variance`,
    y: { label: 'loading', min: -1, max: 1 },
    categories: traits,
    series: [pooled, ...alone].map(({ model, components }) => ({
      name: model ?? 'all runs',
      values: components[0]!,
    })),
  })
}

/** Every checkpoint in the plane of the first two axes, coloured by the data it was trained on. */
export function planeChart({ pooled, plane }: RunGeometry): string {
  const axis = (k: number) => `drift along PC${k + 1} (${percent(pooled.shares[k] ?? 0)})`
  const datasets = [...new Set(plane.map(({ dataset }) => dataset))]
  return scatterChart({
    title: 'Drift of every checkpoint; step 0 is the origin',
    x: { label: axis(0) },
    y: { label: axis(1) },
    series: datasets.map((name) => ({
      name,
      points: plane.filter(({ dataset }) => dataset === name).map(({ at }) => at),
    })),
  })
}

/**
 * Writes a folder with `geometry.json`, `loadings.svg` and `plane.svg`, as a whole.
 *
 * @throws TraitscopeError FILE_EXISTS unless `force`; with it, only an earlier geometry folder is replaced
 */
export async function saveGeometry(
  geometry: RunGeometry,
  folder: string,
  options: { force?: boolean | undefined } = {},
): Promise<void> {
  const { force = false } = takeOptions('saveGeometry', options, { force: 'boolean' })
  await publishFolder(
    folder,
    async (temporary) => {
      await writeFile(join(temporary, GEOMETRY_FILE), `${JSON.stringify(geometry, null, 1)}\n`)
      await writeFile(join(temporary, 'loadings.svg'), loadingsChart(geometry))
      await writeFile(join(temporary, 'plane.svg'), planeChart(geometry))
    },
    { force, marker: GEOMETRY_FILE },
  )
}
