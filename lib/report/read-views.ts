import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Bundle } from '../detector/bundle.js'
import { TraitscopeError, throwIfAborted } from '../errors.js'
import { EVENTS_FILE, EventReader } from '../events/event-log.js'
import { listStates, runState } from '../events/state-folder.js'
import { isFile, statOf } from '../formats/files/file-stats.js'
import { namedPath } from '../formats/files/named-path.js'
import { measuredBelow } from '../runs/runs.js'
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
  /** Looked at before every run and every piece of a log. */
  signal?: AbortSignal | undefined
}

/** A run, and the folder or file that it was read from. */
interface Placed {
  view: RunView
  place: string
}

/**
 * The runs that a path leads to: a measured run (its folder or `trajectory.json`); a watch's log (`events.jsonl`, the folder
 * that holds it, or the folder of all states); or a run's folder that a watch has a state of.
 *
 * @throws FILE_NOT_FOUND when it leads to none of these; ABORTED; as `readReportRun` and `EventReader.next`
 */
async function readPlaced(path: string, options: ReadViewsOptions): Promise<Placed[]> {
  const { bundle, stateDir, signal } = options
  const logged = async (place: string) => ({ view: await readLogged(place, options), place })
  const measured = async (place: string) => {
    throwIfAborted(signal)
    return { view: viewOfTrajectory(await readReportRun(place, bundle)), place }
  }
  const target = namedPath(path, 'a run')
  const info = await statOf(target)
  if (!info.isDirectory()) {
    const folder = dirname(target)
    if (basename(target) === EVENTS_FILE) return [await logged(folder)]
    // Shells put every file of a folder into the place of a star.
    if (!/\.json(\.gz)?$/.test(target))
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected a run's folder, a trajectory.json or ${EVENTS_FILE}, found ${target}, which is none of them; name runs alone`,
      )
    return [await measured(/^trajectory\.json(\.gz)?$/.test(basename(target)) ? folder : target)]
  }
  if (await isMeasured(target)) return [await measured(target)]
  if (await isFile(join(target, EVENTS_FILE))) return [await logged(target)]
  const states = await listStates(target)
  if (states.length > 0) return Promise.all(states.map(({ folder }) => logged(folder)))
  const own = stateDir === undefined ? undefined : await runState(stateDir, target)
  if (own && (await isFile(join(own.folder, EVENTS_FILE)))) return [await logged(own.folder)]
  const below = await measuredBelow(target, signal)
  throw new TraitscopeError(
    'FILE_NOT_FOUND',
    `expected a trajectory.json (\`traitscope measure -o\`) or ${EVENTS_FILE} (\`traitscope watch\`) in ${target}${own ? `, or a watch's state in ${own.folder}` : ''}, found neither${below === '' ? '' : `; measured runs lie below it: name them (${below})`}`,
  )
}

/**
 * The runs that all these paths lead to, each once. Runs are named after their folders, and trainers call theirs `out`: those of
 * one name are known by where they were read from, so that nothing takes two for one.
 *
 * @param onRead called when one of the paths has been read
 * @throws as {@link readPlaced}
 */
export async function readAllViews(
  paths: readonly string[],
  options: ReadViewsOptions = {},
  onRead?: () => void,
): Promise<RunView[]> {
  const read = async (path: string) => {
    const placed = await readPlaced(path, options)
    onRead?.()
    return Promise.all(placed.map(async (one) => ({ ...one, file: await realpath(one.place) })))
  }
  const found = (await Promise.all(paths.map(read))).flat()
  const once = found.filter(({ file }, i) => found.findIndex((other) => other.file === file) === i)
  const names = once.map(({ view }) => view.run)
  for (const { view, place } of once) {
    if (names.indexOf(view.run) !== names.lastIndexOf(view.run)) view.run = place
  }
  return once.map(({ view }) => view)
}

/** One run as its log tells it. @throws FILE_INVALID when there is no event in it */
async function readLogged(folder: string, { labels, signal }: ReadViewsOptions): Promise<RunView> {
  const reader = new EventReader(folder)
  let view: RunView | undefined
  for (let events = await reader.next(); events.length > 0; events = await reader.next()) {
    throwIfAborted(signal)
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
