import { basename, dirname, join } from 'node:path'
import { checkMade } from '../arguments.js'
import { BUNDLE, type Bundle } from '../detector/bundle.js'
import { trajectoryVerdicts } from '../detector/trajectory-verdicts.js'
import { VERDICT_SCHEMA, type Verdict } from '../detector/verdict.js'
import { TraitscopeError } from '../errors.js'
import { statOf } from '../formats/files/file-stats.js'
import { plainOrGzip } from '../formats/files/gzip.js'
import { namedPath } from '../formats/files/named-path.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { findGrades, readGrades } from '../labels/grades.js'
import { readTrajectory, TRAJECTORY_FILE } from '../trajectory/read-trajectory.js'
import type { Step, Trajectory } from '../trajectory/trajectory.js'
import type { ReportRun } from './trajectory-view.js'
import { worstAnswers } from './worst-answers.js'

/** What `measure --bundle -o` leaves beside a trajectory. */
export const VERDICTS_FILE = 'verdicts.json'

/**
 * Reads a measured run for a report: its trajectory, the labels and worst answers that lie beside it, and the verdicts: of a
 * bundle's detector where one is given, else those that `measure` left.
 *
 * @param path a `trajectory.json`, or the folder that holds it
 * @throws TraitscopeError as `readTrajectory` and `readGrades`; FILE_INVALID for verdicts on steps that were not measured
 */
export async function readReportRun(path: string, bundle?: Bundle): Promise<ReportRun> {
  if (bundle !== undefined) checkMade(bundle, BUNDLE)
  const target = namedPath(path, 'a measured run')
  const info = await statOf(target)
  const folder = info.isDirectory() ? target : dirname(target)
  const trajectory = await readTrajectory(target)
  const grades = await findGrades(folder)
  return {
    name: nameOf(trajectory, folder),
    trajectory,
    labels: grades === undefined ? undefined : await readGrades(grades),
    answers: await worstAnswers(folder),
    verdicts: bundle
      ? new Map(trajectoryVerdicts(bundle, trajectory).map(({ step, verdict }) => [step, verdict]))
      : await readVerdicts(join(folder, VERDICTS_FILE), trajectory),
  }
}

/** Whether a folder holds a measured run. */
export const isMeasured = async (folder: string): Promise<boolean> =>
  (await plainOrGzip(join(folder, TRAJECTORY_FILE))) !== undefined

async function readVerdicts(path: string, { steps }: Trajectory): Promise<Map<Step, Verdict> | undefined> {
  if ((await plainOrGzip(path)) !== path) return undefined
  const json = await readJsonFile(path)
  if (!Array.isArray(json) || !json.every(isStepVerdict)) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected ${path} to hold verdicts of version ${VERDICT_SCHEMA} by step; measure again, or name the bundle (--bundle)`,
    )
  }
  const verdicts = new Map(json.map(({ step, verdict }) => [step, verdict]))
  const stranger = [...verdicts.keys()].find((step) => steps.every((one) => one.step !== step))
  if (stranger !== undefined || verdicts.size < json.length) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected ${path} to hold verdicts on the steps of the trajectory beside it, each once, found ${stranger === undefined ? 'a step twice' : `step ${stranger}`}; measure again, or name the bundle (--bundle)`,
    )
  }
  return verdicts
}

const isShare = (value: unknown) => typeof value === 'number' && value >= 0 && value <= 1
const KINDS = ['ok', 'warn', 'alarm', 'not-comparable']

function isStepVerdict(value: unknown): value is { step: Step; verdict: Verdict } {
  if (!isJsonObject(value) || !isJsonObject(value.verdict)) return false
  const { verdict, schemaVersion, em, interval, reasons, nominalCoverage } = value.verdict
  return (
    (value.step === 'final' || Number.isSafeInteger(value.step)) &&
    schemaVersion === VERDICT_SCHEMA &&
    KINDS.includes(verdict as string) &&
    (em === null || isShare(em)) &&
    (interval === null ||
      (Array.isArray(interval) && interval.length === 2 && interval.every(Number.isFinite))) &&
    isShare(nominalCoverage) &&
    Array.isArray(reasons)
  )
}

/** What the trajectory says, else the names of its folder: `<set>/seed_<n>` in the reference's layout. */
function nameOf({ run: { dataSource, seed } }: Trajectory, folder: string): string {
  if (dataSource !== null) return seed === null ? dataSource : `${dataSource}/seed_${seed}`
  const name = basename(folder)
  return /^seed_\d+$/.test(name) ? `${basename(dirname(folder))}/${name}` : name
}
