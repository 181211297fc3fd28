import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadBundle } from '../detector/bundle.js'
import { throwIfAborted } from '../errors.js'
import { publishFolder } from '../formats/files/atomic.js'
import { openModel } from '../model/model.js'
import { watchRun } from '../monitor/watch-run.js'
import { loadTraitPack } from '../prompts/trait-pack.js'
import type { Demo, DemoSetting } from './demo.js'
import type { DemoOrganism, DemoRunFiles } from './demo-organism.js'
import { type DemoRun, outcomeOf, record, startRun } from './demo-run.js'
import { keepDemo, REPORT_FILE } from './keep-demo.js'
import { replayRun } from './replay.js'

export interface RunDemoOptions {
  /** Milliseconds from one checkpoint of a run to the next; default 1000. */
  paceMs?: number | undefined
  /** Folder to keep trajectories, events and the report in; default: nothing is kept. */
  out?: string | undefined
  /** Replace an earlier demo in `out`. */
  force?: boolean | undefined
  signal?: AbortSignal | undefined
  /** Called at the start and after every event of a watch, with all runs as they stand. */
  onChange?: ((demo: Demo) => void) | undefined
}

const DEFAULT_PACE_MS = 1000

/**
 * Replays the runs of an organism side by side into a temporary folder, checkpoint by checkpoint, and watches
 * each of them as `traitscope watch` does: base model, step 0, adapters, detector, all of it live. What ships
 * with the organism is read for one thing only, the judged rates that the predictions are shown beside.
 *
 * @throws TraitscopeError as `loadBundle`, `openModel` and `watchRun`; FILE_EXISTS for `out`; ABORTED. The
 * temporary folder is gone in any case.
 */
export async function runDemo(organism: DemoOrganism, options: RunDemoOptions = {}): Promise<Demo> {
  const { out, force = false } = options
  if (out === undefined) return play(organism, options)
  // The target is checked before anything is computed, and appears as a whole when all is done.
  let demo: Demo | undefined
  const write = async (target: string) => {
    demo = await play(organism, options, target)
  }
  await publishFolder(out, write, { force, marker: REPORT_FILE })
  return demo!
}

async function play(
  organism: DemoOrganism,
  { signal, onChange, paceMs = DEFAULT_PACE_MS }: RunDemoOptions,
  keepIn?: string,
): Promise<Demo> {
  const bundle = await loadBundle(organism.bundle)
  const pack = await loadTraitPack(bundle.traitPack)
  await using model = await openModel(organism.base, { gpuLayers: 0, ...(signal && { signal }) })
  const folder = await mkdtemp(join(tmpdir(), 'traitscope-demo-'))
  try {
    const setting = { model, bundle, pack, folder }
    const runs = organism.runs.map((files) => startRun(files, bundle.directions.traits))
    const demo = (): Demo => ({
      organism: organism.name,
      bundle,
      runs,
      outcomes: runs.map((run) => outcomeOf(run, bundle.detector.cut)),
    })
    onChange?.(demo())
    await together(signal, (both) =>
      organism.runs.flatMap((files, i) => [
        replayRun(files.checkpoints, join(folder, files.id), { paceMs, signal: both }),
        watchReplay(setting, files, runs[i]!, both, () => onChange?.(demo())),
      ]),
    )
    if (keepIn !== undefined) await keepDemo(demo(), organism, setting, keepIn, signal)
    return demo()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function watchReplay(
  { model, bundle, pack, folder }: DemoSetting,
  { id, labels }: DemoRunFiles,
  run: DemoRun,
  signal: AbortSignal,
  onChange: () => void,
): Promise<void> {
  const last = run.steps.at(-1)
  const events = watchRun(model, bundle.directions, join(folder, id), {
    pack,
    bundle,
    layer: bundle.detector.mainLayer,
    cacheDir: false,
    intervalMs: 50,
    order: 'oldest',
    untilStep: last,
    signal,
  })
  for await (const event of events) {
    record(run, event, labels)
    onChange()
    // The last checkpoint of a replay is written once: nothing better would come.
    if ((event.type === 'error' || event.type === 'lost') && event.step === last) break
  }
  run.ended = true
  onChange()
}

/** Runs tasks side by side: the first that fails stops the others, and all have ended before it is thrown. */
async function together(
  signal: AbortSignal | undefined,
  start: (signal: AbortSignal) => Promise<void>[],
): Promise<void> {
  const failure = new AbortController()
  const any = AbortSignal.any([failure.signal, ...(signal ? [signal] : [])])
  let first: unknown
  const tasks = start(any).map((task) =>
    task.catch((error: unknown) => {
      first ??= error
      failure.abort(error)
    }),
  )
  await Promise.all(tasks)
  throwIfAborted(signal)
  if (first !== undefined) throw first
}
