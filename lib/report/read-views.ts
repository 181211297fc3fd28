import { stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Bundle } from '../detector/bundle.js'
import { TraitscopeError } from '../errors.js'
import { EVENTS_FILE, EventReader } from '../events/event-log.js'
import { listStates, runState } from '../events/state-folder.js'
import { fileError } from '../formats/files/file-errors.js'
import { namedPath } from '../formats/files/named-path.js'
import { applyEvent } from './apply-event.js'
import { applyLabels, weightsOf } from './apply-labels.js'
import { isMeasured, readReportRun } from './report-run.js'
import type { LabelFolders } from './run-labels.js'
import { type RunView, startRun } from './run-view.js'
import { viewOfTrajectory } from './trajectory-view.js'

export interface ReadViewsOptions {
  /** Gives verdicts on measured runs; what a watch has said stays as it was said. */
  bundle?: Bundle | undefined
  /** Where `label` has left what it found out about watched runs. */
  labels?: LabelFolders | undefined
  /** Where watches keep their states: a watched run may be named by its own folder then. */
  stateDir?: string | undefined
}

/**
 * The runs that a path leads to: a measured run (its folder or `trajectory.json`); a watch's log (`events.jsonl`, the folder
 * that holds it, or the folder of all states); or a run's folder that a watch has a state of.
 *
 * @throws FILE_NOT_FOUND when it leads to none of these; as `readReportRun` and `EventReader.next`
 */
export async function readViews(
  path: string,
  { bundle, stateDir, labels }: ReadViewsOptions = {},
): Promise<RunView[]> {
  const target = namedPath(path, 'a run')
  const info = await stat(target).catch((error: unknown) => {
    throw fileError(error, target)
  })
  if (!info.isDirectory()) {
    if (basename(target) === EVENTS_FILE) return [await readLogged(dirname(target), labels)]
    return [viewOfTrajectory(await readReportRun(target, bundle))]
  }
  if (await isMeasured(target)) return [viewOfTrajectory(await readReportRun(target, bundle))]
  if (await isFile(join(target, EVENTS_FILE))) return [await readLogged(target, labels)]
  const states = await listStates(target)
  if (states.length > 0) return Promise.all(states.map(({ folder }) => readLogged(folder, labels)))
  const own = stateDir === undefined ? undefined : await runState(stateDir, target)
  if (own && (await isFile(join(own.folder, EVENTS_FILE)))) return [await readLogged(own.folder, labels)]
  throw new TraitscopeError(
    'FILE_NOT_FOUND',
    `expected a trajectory.json (\`traitscope measure -o\`) or ${EVENTS_FILE} (\`traitscope watch\`) in ${target}${own ? `, or a watch's state in ${own.folder}` : ''}, found neither`,
  )
}

/**
 * The runs that all these paths lead to, each once. Runs are named after their folders, and trainers call theirs `out`: measured
 * ones of one name are known by the folder of their trajectory, so that nothing takes two for one.
 *
 * @param onRead called when one of the paths has been read
 * @throws as {@link readViews}
 */
export async function readAllViews(
  paths: readonly string[],
  options: ReadViewsOptions = {},
  onRead?: () => void,
): Promise<RunView[]> {
  const places = new Set(paths.map((path) => resolve(path).replace(/[\\/]trajectory\.json(\.gz)?$/, '')))
  const read = async (place: string) => {
    const views = await readViews(place, options)
    onRead?.()
    return views.map((view) => ({ view, name: view.run, place }))
  }
  const found = (await Promise.all([...places].map(read))).flat()
  const isFirst = (name: string, at: number) =>
    found.findIndex(({ view, name: other }) => view.seq > 0 && other === name) === at
  const once = found.filter(({ view, name }, i) => view.seq === 0 || isFirst(name, i))
  for (const one of once) {
    const isShared = once.some((other) => other !== one && other.name === one.name)
    if (one.view.seq === 0 && isShared) one.view.run = one.place
  }
  return once.map(({ view }) => view)
}

/** One run as its log tells it. @throws FILE_INVALID when there is no event in it */
async function readLogged(folder: string, labels: LabelFolders | undefined): Promise<RunView> {
  const reader = new EventReader(folder)
  let view: RunView | undefined
  for (let events = await reader.next(); events.length > 0; events = await reader.next()) {
    for (const event of events) {
      view ??= startRun(event.run)
      applyEvent(view, event)
    }
  }
  const found = view && (await labels?.of(weightsOf(view)))
  if (view && found) applyLabels(view, found)
  if (view) return view
  throw new TraitscopeError('FILE_INVALID', `expected at least one event in ${reader.path}, found none`)
}

const isFile = (path: string) =>
  stat(path).then(
    (info) => info.isFile(),
    () => false,
  )
