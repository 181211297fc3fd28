import { takeMade, takeOptions, takeTexts } from '../arguments.js'
import { DIRECTIONS, type Directions } from '../directions/directions.js'
import { TraitscopeError } from '../errors.js'
import type { WatchEvent } from '../events/watch-events.js'
import { namedPath } from '../formats/files/named-path.js'
import type { Model } from '../model/model.js'
import { AsyncQueue } from './async-queue.js'
import { WATCH_OPTIONS, type WatchRunOptions } from './watch-options.js'
import { WatchSession } from './watch-session.js'

/**
 * Watches a run's folder and measures every checkpoint once, as it is completed; weights that change under an
 * old name are measured again. The folder is only read, by looking at it every `intervalMs`, and may not
 * exist yet. Half-written checkpoints are waited for. A base whose states find no memory at first is tried again, without `once`, and told
 * of by an `error` event without a run. What cannot be read or measured is an `error` event, what the trainer
 * removes before it is measured is `lost`, and the watch goes on.
 *
 * It ends with the loop over it (`break`, an exception), by `return()` or by the signal: one that is left lying goes on, and
 * keeps the process alive.
 *
 * @throws TraitscopeError before the first event when directions, model, pack and bundle do not belong
 * together (NOT_COMPARABLE), when another watch has the run (FILE_ACCESS), and for a folder of several runs (AMBIGUOUS)
 */
export function watchRun(
  model: Model,
  directions: Directions,
  runDir: string,
  options: WatchRunOptions,
): AsyncGenerator<WatchEvent, void, undefined> {
  return watchRuns(model, directions, [runDir], options)
}

/**
 * Watches several runs of one base, as {@link watchRun} does one: they take turns. A path may be a pattern with `*` and `?`,
 * whose runs are found as they appear. Every event names its run; the last one, `end`, is of all of them when there are
 * several.
 */
export function watchRuns(
  model: Model,
  directions: Directions,
  runDirs: readonly string[],
  options: WatchRunOptions,
): AsyncGenerator<WatchEvent, void, undefined> {
  // Taken now and told with the first event: what happens to them, or to the working directory, before that changes nothing.
  const taken = (async () => take(directions, runDirs, options))()
  taken.catch(() => {})
  return watch(model, taken)
}

interface Taken {
  directions: Directions
  runDirs: readonly string[]
  options: WatchRunOptions
}

function take(directions: Directions, runDirs: readonly string[], given: WatchRunOptions): Taken {
  const options = takeOptions('watchRuns', given, WATCH_OPTIONS)
  checkDuration('intervalMs', options.intervalMs)
  checkDuration('idleMs', options.idleMs)
  checkDuration('idleUnloadMs', options.idleUnloadMs)
  if (options.idleUnloadMs !== undefined && !options.reopen) {
    throw new TraitscopeError(
      'USAGE',
      'expected reopen, which opens the base again, with idleUnloadMs, found none',
    )
  }
  const folders = takeTexts('folders of runs', runDirs)
  if (folders.length === 0) throw new TraitscopeError('USAGE', 'expected the folder of a run, found none')
  return {
    directions: takeMade(directions, DIRECTIONS),
    runDirs: folders.map((path) => namedPath(path, 'a run')),
    options,
  }
}

async function* watch(model: Model, taken: Promise<Taken>): AsyncGenerator<WatchEvent, void, undefined> {
  const { directions, runDirs, options } = await taken
  const events = new AsyncQueue<WatchEvent>()
  const session = new WatchSession(model, directions, runDirs, options, (event) => events.push(event))
  const work = session.run().then(
    () => events.close(),
    (error) => events.fail(error),
  )
  try {
    yield* events
  } finally {
    session.stop()
    await work
  }
}

function checkDuration(name: string, value = 0): void {
  if (!(Number.isFinite(value) && value >= 0)) {
    throw new TraitscopeError('USAGE', `${name} must be a number of milliseconds, 0 or more, found ${value}`)
  }
}
