import { stat } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import type { Bundle } from '../detector/bundle.js'
import { trajectoryVerdicts } from '../detector/run-verdicts.js'
import { fileError } from '../formats/files/file-errors.js'
import { findGrades, readGrades } from '../labels/grades.js'
import { readTrajectory } from '../trajectory/read-trajectory.js'
import type { Trajectory } from '../trajectory/trajectory.js'
import type { ReportRun } from './html.js'

/**
 * Reads a measured run for a report: its trajectory, the labels that lie beside it, and with a bundle the verdicts of its
 * detector on every checkpoint.
 *
 * @param path a `trajectory.json`, or the folder that holds it
 * @throws TraitscopeError as `readTrajectory` and `readGrades`
 */
export async function readReportRun(path: string, bundle?: Bundle): Promise<ReportRun> {
  const target = resolve(path)
  const info = await stat(target).catch((error: unknown) => {
    throw fileError(error, target)
  })
  const folder = info.isDirectory() ? target : dirname(target)
  const trajectory = await readTrajectory(target)
  const grades = await findGrades(folder)
  return {
    name: nameOf(trajectory, folder),
    trajectory,
    labels: grades === undefined ? undefined : await readGrades(grades),
    verdicts:
      bundle && new Map(trajectoryVerdicts(bundle, trajectory).map(({ step, verdict }) => [step, verdict])),
  }
}

/** What the trajectory says, else the names of its folder: `<set>/seed_<n>` in the reference's layout. */
function nameOf({ run: { dataSource, seed } }: Trajectory, folder: string): string {
  if (dataSource !== null) return seed === null ? dataSource : `${dataSource}/seed_${seed}`
  const name = basename(folder)
  return /^seed_\d+$/.test(name) ? `${basename(dirname(folder))}/${name}` : name
}
