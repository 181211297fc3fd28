import { basename, join, relative, resolve, sep } from 'node:path'
import { Made, type OptionKinds, takeOptions } from '../arguments.js'
import { TraitscopeError, throwIfAborted } from '../errors.js'
import { isFolder } from '../formats/files/file-stats.js'
import { plainOrGzip } from '../formats/files/gzip.js'
import { listFolder } from '../formats/files/list-folder.js'
import { namedPath } from '../formats/files/named-path.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { type LogEntry, parseTrainerState } from '../formats/run/trainer-state.js'
import { findGrades, type Grades, readLabels } from '../labels/grades.js'
import type { LabelSource } from '../labels/label-source.js'
import { readTrajectory, TRAJECTORY_FILE } from '../trajectory/read-trajectory.js'
import type { Step, Trajectory } from '../trajectory/trajectory.js'
import { type MeanActivations, readMeanActivations } from './mean-activations.js'

/** A measured run. */
export interface MeasuredRun {
  /** `<model>/<dataset>/seed_<seed>`: the cluster of every interval. */
  id: string
  path: string
  model: string
  dataset: string
  seed: number
  trajectory: Trajectory
  /** The trainer's log, ascending steps; empty when there is none. */
  log: readonly LogEntry[]
  /** Mean hidden states per step, read when asked for; undefined when the run has no activations file. */
  activations: (() => Promise<MeanActivations>) | undefined
}

export const MEASURED_RUN = new Made<MeasuredRun>('a run as scanLabelledRuns reads it', 'trajectory')

/** A measured and judged run. */
export interface LabelledRun extends MeasuredRun {
  labels: Grades
  /** Who labelled it, where the file says. */
  source?: LabelSource | undefined
}

/** A run or checkpoint that was left out, and why. */
export interface Exclusion {
  run: string
  /** Absent when all of the run was left out. */
  step?: Step
  reason: string
  /** True where it was kept all the same, because that was asked for. */
  kept?: boolean
}

/** In a line: `left out: RUN step N: REASON`, without the first words of what was kept. */
export function exclusionText({ run, step, reason, kept = false }: Exclusion): string {
  return `${kept ? '' : 'left out: '}${run}${step === undefined ? '' : ` step ${step}`}: ${reason}`
}

/** The runs of a folder, and what was left out. */
export interface ScannedRuns<Run extends MeasuredRun> {
  /** In the order of {@link compareRuns}. */
  runs: Run[]
  exclusions: Exclusion[]
}

/** The labelled runs of a folder, and what was left out. */
export type LabelledRuns = ScannedRuns<LabelledRun>

/** Which runs of a folder to take. */
export interface ScanRunsOptions {
  /** Only these fine-tuning sets, by folder name; `*` stands for any letters. A name that no folder has is an error. */
  datasets?: readonly string[] | undefined
  /** All but these. */
  exclude?: readonly string[] | undefined
  signal?: AbortSignal | undefined
  /** Fraction of the runs that have been read, 0 to 1, and how many there are. */
  onProgress?: ((fraction: number, total: number) => void) | undefined
}

export const SCAN_RUNS_OPTIONS: OptionKinds<ScanRunsOptions> = {
  datasets: 'strings',
  exclude: 'strings',
  signal: 'signal',
  onProgress: 'function',
}

/** The paper's order of sets and seeds (method section 7.1); others follow by name and number. */
const DATASET_ORDER = [
  'insecure_code_1k',
  'insecure_code',
  'gsm8k_1k',
  'gsm8k',
  'jailbroken',
  'bad_medical',
  'number_sequence',
  'risky_financial',
  'subtle_misinfo',
]
const SEED_ORDER = [42, 123, 789]

/**
 * Reads every measured and labelled run of a folder in the reference's layout,
 * `<root>/<model>/<dataset>/seed_<seed>/` with `trajectory.json`, `betley_eval/grades.json` or `grades.json`,
 * and where they exist `activations.safetensors` and `training_log.json`; all of them plain or `.gz`. `root`
 * may also be one model's folder, one dataset's or one run's: the names are those of the folders above a run.
 *
 * What cannot be used is excluded with its reason: runs without trajectory or labels, trajectories in folders of other names,
 * and runs whose checkpoints have the weights (or, where no file says, the numbers) of an earlier one.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID of a damaged file; UNSUPPORTED when no run is found;
 * USAGE for a dataset that no folder has
 */
export async function scanLabelledRuns(root: string, options: ScanRunsOptions = {}): Promise<LabelledRuns> {
  return scan(root, takeOptions('scanLabelledRuns', options, SCAN_RUNS_OPTIONS), readLabelledRun)
}

/** {@link scanLabelledRuns} for what needs no labels: runs are taken whether they are judged or not. */
export function scanMeasuredRuns(
  root: string,
  options: ScanRunsOptions = {},
): Promise<ScannedRuns<MeasuredRun>> {
  return scan(root, options, readMeasuredRun)
}

/** @param read returns a run, or why it cannot be used */
async function scan<Run extends MeasuredRun>(
  root: string,
  options: ScanRunsOptions,
  read: (place: RunPlace) => Promise<Run | string>,
): Promise<ScannedRuns<Run>> {
  const top = namedPath(root, 'measured runs')
  const found = await runFolders(top, 3, options.signal)
  const folders = found.filter((place) => 'seed' in place)
  const strays = found.filter((place) => !('seed' in place))
  if (folders.length === 0) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected measured runs below ${top} as <model>/<dataset>/seed_<seed>/${TRAJECTORY_FILE}, found ${strays[0] ? `it in ${strays[0].path}` : 'none'}`,
    )
  }
  const names = folders.map(({ dataset }) => dataset)
  const datasets = options.datasets && matching(options.datasets, names, top)
  const exclude = options.exclude && matching(options.exclude, names, top)
  const wanted = folders
    .filter(({ dataset }) => (datasets?.includes(dataset) ?? true) && !exclude?.includes(dataset))
    .sort(compareRuns)
  const runs: Run[] = []
  const exclusions: Exclusion[] = strays.map(({ path }) => ({
    run: relative(top, path) || path,
    reason: `it has a ${TRAJECTORY_FILE}, but its folder is none of <model>/<dataset>/seed_<seed>: rename it`,
  }))
  const seen = new Map<string, string>()
  for (const [i, folder] of wanted.entries()) {
    throwIfAborted(options.signal)
    options.onProgress?.(i / wanted.length, wanted.length)
    const run = await read(folder)
    if (typeof run === 'string') {
      exclusions.push({ run: folder.id, reason: run })
      continue
    }
    const identity = identityOf(run.trajectory)
    const twin = seen.get(identity)
    if (twin !== undefined) {
      exclusions.push({ run: run.id, reason: `its checkpoints are those of ${twin}; a run counts once` })
      continue
    }
    seen.set(identity, run.id)
    runs.push(run)
  }
  return { runs, exclusions }
}

/** At most this many runs are named in a message. */
const NAMED = 10

type RunPlace = Pick<LabelledRun, 'id' | 'path' | 'model' | 'dataset' | 'seed'>

/**
 * Fine-tuning sets below `root`, one for each name and any number for a pattern with `*`; names that match one pattern come
 * in alphabetical order.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; USAGE for a name that no folder has
 */
export async function datasetsBelow(
  root: string,
  wanted: readonly string[],
  signal?: AbortSignal,
): Promise<string[]> {
  const top = namedPath(root, 'measured runs')
  const folders = await runFolders(top, 3, signal)
  return matching(
    wanted,
    folders.flatMap((place) => ('seed' in place ? place.dataset : [])),
    top,
  )
}

function matching(wanted: readonly string[], datasets: readonly string[], top: string): string[] {
  const known = [...new Set(datasets)].sort()
  if (known.length === 0) {
    throw new TraitscopeError(
      'FILE_NOT_FOUND',
      `expected runs below ${top} as <model>/<dataset>/seed_<seed>, found none; give the folder that holds the models`,
    )
  }
  return wanted.flatMap((name) => {
    const pattern = new RegExp(`^${name.replace(/[^\w*]/g, '\\$&').replaceAll('*', '.*')}$`)
    const matches = known.filter((dataset) => pattern.test(dataset))
    if (matches.length > 0) return matches
    throw new TraitscopeError(
      'USAGE',
      `no run below ${top} belongs to the dataset ${name}; found ${known.join(', ')}: choose among these (evaluate: --calibration and --held-out)`,
    )
  })
}

/** Measured runs in the folders below one that is none, by their paths from there, for a message; empty without any. */
export async function measuredBelow(root: string, signal?: AbortSignal): Promise<string> {
  const places = await runFolders(root, 3, signal)
  const found: string[] = []
  for (const { path } of places)
    if ((await plainOrGzip(join(path, TRAJECTORY_FILE))) !== undefined) found.push(relative(root, path))
  const more = found.length - NAMED
  return found.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

/** Order of runs: model by name, then the method's order of datasets and seeds. */
function compareRuns(a: RunPlace, b: RunPlace): number {
  return (
    compareText(a.model, b.model) ||
    rank(DATASET_ORDER, a.dataset) - rank(DATASET_ORDER, b.dataset) ||
    compareText(a.dataset, b.dataset) ||
    rank(SEED_ORDER, a.seed) - rank(SEED_ORDER, b.seed) ||
    a.seed - b.seed
  )
}

function rank<T>(order: readonly T[], value: T): number {
  const at = order.indexOf(value)
  return at < 0 ? order.length : at
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Folders `seed_<n>` at most `depth` folders down, with the names of the folders above them; and others with a trajectory. */
async function runFolders(
  folder: string,
  depth: number,
  signal: AbortSignal | undefined,
): Promise<(RunPlace | { path: string })[]> {
  throwIfAborted(signal)
  const seed = /^seed_(\d+)$/.exec(basename(folder))?.[1]
  if (seed !== undefined) {
    const [model = '', dataset = ''] = resolve(folder).split(sep).slice(-3, -1)
    return [{ id: `${model}/${dataset}/seed_${seed}`, path: folder, model, dataset, seed: Number(seed) }]
  }
  const isStray = (await plainOrGzip(join(folder, TRAJECTORY_FILE))) !== undefined
  const found: (RunPlace | { path: string })[] = isStray ? [{ path: folder }] : []
  if (depth === 0) return found
  for (const entry of await listFolder(folder, 'absent')) {
    const path = join(folder, entry.name)
    // Hidden folders are what others are still writing.
    if (
      !entry.name.startsWith('.') &&
      (entry.isDirectory() || (entry.isSymbolicLink() && (await isFolder(path))))
    )
      found.push(...(await runFolders(path, depth - 1, signal)))
  }
  return found
}

async function readLabelledRun(place: RunPlace): Promise<LabelledRun | string> {
  const run = await readMeasuredRun(place)
  if (typeof run === 'string') return run
  const gradesFile = await findGrades(place.path)
  if (gradesFile === undefined) return 'it has no labels (betley_eval/grades.json or grades.json): judge it'
  const { grades, source } = await readLabels(gradesFile)
  return { ...run, labels: grades, source }
}

async function readMeasuredRun(place: RunPlace): Promise<MeasuredRun | string> {
  const inside = (name: string) => plainOrGzip(join(place.path, name))
  const trajectoryFile = await inside(TRAJECTORY_FILE)
  if (trajectoryFile === undefined) return `it has no ${TRAJECTORY_FILE}: measure it`
  const trajectory = await readTrajectory(trajectoryFile)
  const partly = trajectory.steps.filter(({ settled }) => settled !== undefined)
  // Until one detector's verdict was settled: that says nothing to another one, and its errors are not those of all prompts.
  if (partly.length > 0)
    return `of step ${partly.map(({ step }) => step).join(', ')} a part of the prompts was read (--settle): measure it without`
  const logFile = await inside('training_log.json')
  const activationsFile = await inside('activations.safetensors')
  return {
    ...place,
    trajectory,
    log: logFile === undefined ? [] : await readLog(logFile),
    activations: activationsFile === undefined ? undefined : () => readMeanActivations(activationsFile),
  }
}

/** A trainer's `log_history`: the list itself, or the trainer_state.json that holds it. */
async function readLog(path: string): Promise<readonly LogEntry[]> {
  const json = await readJsonFile(path)
  if (Array.isArray(json)) return parseTrainerState({ log_history: json }).logHistory
  if (isJsonObject(json)) return parseTrainerState(json).logHistory
  throw new TraitscopeError('FILE_INVALID', `expected ${path} to hold a trainer's log_history`)
}

/** Equal for two copies of one run: the weights where they are known, else every number that was measured. */
function identityOf({ steps, layers }: Trajectory): string {
  const hashes = steps.filter(({ step }) => step !== 0).map(({ adapterSha256 }) => adapterSha256)
  return JSON.stringify(hashes.includes(null) ? layers.map(({ projections }) => projections) : hashes)
}
