import { resolve } from 'node:path'
import { type OptionKinds, takeOptions } from '../arguments.js'
import type { Directions } from '../directions/directions.js'
import { computing, throwIfAborted } from '../errors.js'
import { publishFolder } from '../formats/files/atomic.js'
import { namedPath } from '../formats/files/named-path.js'
import { isRotatedAway } from '../formats/run/checkpoint.js'
import { type RunFolder, refuseParent, scanRunFolder } from '../formats/run/run-folder.js'
import { LABEL_FILES } from '../labels/label-folder.js'
import type { Model } from '../model/model.js'
import { keptLabelRemarks } from './kept-labels.js'
import { nothingToMeasure, skippedOf, toMeasure } from './measurable-steps.js'
import { MeasureLog } from './measure-log.js'
import type { MeasurementPlan } from './measurement-plan.js'
import { MEASUREMENT_OPTIONS, type MeasurementOptions, prepareMeasurement } from './prepare-measurement.js'
import type { Projection } from './project.js'
import { TRAJECTORY_FILE } from './read-trajectory.js'
import { type MeasuredBase, refuseBesideSettling, type StopRule } from './stopping.js'
import type { RunDescription, Trajectory, TrajectoryStep } from './trajectory.js'
import { TrajectoryBuilder } from './trajectory-builder.js'
import { ACTIVATIONS, type ActivationKind, type MeasuredSteps, writeOutputs } from './write-measurement.js'

/** What `onCheckpoint` gets: a step as soon as it is measured. */
export interface MeasuredStep extends TrajectoryStep {
  /** Per layer of the directions. */
  layers: readonly Projection[]
  /** How many steps there are in all, step 0 included, and how many are done. */
  done: number
  of: number
  /** True when an earlier measurement, that was cut short, had it already. */
  resumed?: boolean
}

/** How to measure a run, and what to write. */
export interface MeasureRunOptions extends MeasurementOptions {
  /**
   * Folder to write `trajectory.json`, `activations.safetensors` and `run_manifest.json` to; default: nothing
   * is written. Until it is there, what is measured is kept in `<out>.partial`: the same call goes on from it.
   */
  out?: string | undefined
  /** Replace an earlier measurement in `out`. */
  force?: boolean | undefined
  /**
   * What `activations.safetensors` holds per step, as trained: the states of all `prompts` (default), their `means` (shape
   * `[1, nLayers, nEmbd]`: enough for geometry and baselines, and a hundredth of the size), or nothing.
   */
  activations?: 'prompts' | 'means' | 'none' | undefined
  /**
   * Makes, once step 0 is known, what decides when enough prompts of a checkpoint were read, see `settlingIn`; default: all are. No states
   * are written then, and nothing is read at strengths or in contexts.
   */
  settle?: ((base: MeasuredBase) => StopRule) | undefined
  /** Further files to publish with the measurement, as `[name, content]`. */
  alsoWrite?: ((trajectory: Trajectory) => [name: string, content: string][]) | undefined
  /** What is known of the run and cannot be read from its folder, for the files. */
  run?: Partial<RunDescription> | undefined
  signal?: AbortSignal | undefined
  onCheckpoint?: ((step: MeasuredStep) => void) | undefined
  /** How many checkpoints a measurement that was cut short has left; those that still count are `resumed` at `onCheckpoint`. */
  onKept?: ((count: number) => void) | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

const OPTIONS: OptionKinds<MeasureRunOptions> = {
  ...MEASUREMENT_OPTIONS,
  out: 'path',
  force: 'boolean',
  activations: ACTIVATIONS,
  settle: 'function',
  alsoWrite: 'function',
  run: {
    model: 'any',
    dataSource: 'any',
    seed: 'any',
    nSamples: 'any',
    fullFinetune: 'boolean',
    loraRank: 'any',
    loraAlpha: 'any',
    lr: 'any',
    epochs: 'any',
    saveSteps: 'any',
    maxSteps: 'any',
    earlyUpdateSteps: 'any',
  },
  signal: 'signal',
  onCheckpoint: 'function',
  onKept: 'function',
  onProgress: 'function',
}

/**
 * Measures a fine-tuning run: step 0 on the bare base, then every complete checkpoint, all layers of the
 * directions in one pass each. The final adapter counts once: as an alias when a checkpoint has the same
 * weights, else as step `final`. Incomplete and vanished checkpoints are listed with their reason. Nothing in
 * the run's folder is touched.
 *
 * @throws TraitscopeError FILE_INCOMPLETE when there is nothing to measure yet; NOT_COMPARABLE; every error
 * of an adapter: a run that cannot be measured as a whole is not reported as clean
 */
export async function measureRun(
  model: Model,
  directions: Directions,
  runDir: string,
  options: MeasureRunOptions,
): Promise<Trajectory> {
  const own = takeOptions('measureRun', options, OPTIONS)
  const folder = namedPath(runDir, 'a run')
  const plan = await prepareMeasurement(model, directions, own)
  const { adapterName, signal } = own
  const found = await scanRunFolder(folder, { adapterName, signal })
  refuseParent(found)
  const { out } = own
  const { activations: kind = own.settle ? 'none' : 'prompts' } = own
  if (own.settle !== undefined) refuseBesideSettling({ activations: kind })
  if (out === undefined) return (await measureSteps(plan, found, own, 'none')).trajectory
  // The target is checked before anything is computed, and appears as a whole when all is done.
  let trajectory: Trajectory | undefined
  const write = async (folder: string) => {
    log = await MeasureLog.open(resolve(out), found.path, plan)
    own.onKept?.(log.size)
    const measured = await measureSteps(plan, found, own, kind, log)
    trajectory = measured.trajectory
    trajectory.measurement?.remarks?.push(...(await keptLabelRemarks(out, trajectory.steps)))
    await writeOutputs(folder, plan, measured, own.alsoWrite?.(trajectory) ?? [])
  }
  let log: MeasureLog | undefined
  try {
    await publishFolder(out, write, {
      force: own.force ?? false,
      marker: TRAJECTORY_FILE,
      keep: LABEL_FILES,
    })
    await log?.remove()
  } finally {
    await log?.[Symbol.asyncDispose]()
  }
  return trajectory!
}

async function measureSteps(
  plan: MeasurementPlan,
  found: RunFolder,
  options: MeasureRunOptions,
  kind: ActivationKind,
  log?: MeasureLog,
): Promise<MeasuredSteps> {
  const { signal, onCheckpoint, onProgress, contexts, run } = options
  const { final } = found
  const skipped = skippedOf(found)
  const todo = await toMeasure(found, skipped)
  const passOptions = (done: number) => ({
    signal,
    onProgress: onProgress && ((fraction: number) => onProgress((done + fraction) / (todo.length + 1))),
  })

  const base = await plan.measureBase(passOptions(0))
  const built = new TrajectoryBuilder(plan, found, base, kind)
  const tell = (step: TrajectoryStep, layers: readonly Projection[], from: Pick<MeasuredStep, 'resumed'>) =>
    onCheckpoint?.({ ...step, layers, done: built.steps.length, of: todo.length + 1, ...from })
  tell(built.steps[0]!, base.layers, {})
  const noiseFloor = await plan.measureNoise(base, { signal })
  const rule = options.settle?.(plan.measuredBase(base))
  for (const [i, one] of todo.entries()) {
    const { step, weights, checkpoint } = one
    throwIfAborted(signal)
    try {
      const folders = [...(checkpoint ? [checkpoint.folder] : []), found.path]
      const before = await log?.get(weights, rule)
      const stopping = rule?.begin(plan.prompts.length)
      const measured =
        before ?? (await plan.measureCheckpoint(weights, base, { ...passOptions(i + 1), folders, stopping }))
      if (!before) await log?.put(weights, measured, rule)
      tell(built.addCheckpoint(one, measured), measured.layers, before ? { resumed: true } : {})
    } catch (error) {
      if (!(await isRotatedAway(error, weights.path))) throw computing(`step ${step}`, error)
      skipped.push({ step, reason: (error as Error).message })
      if (final && step === final.aliasOf) todo.push({ step: 'final', weights: final })
    }
  }
  if (built.steps.length === 1) await nothingToMeasure(found, skipped)
  onProgress?.(1)
  const trajectory = built.trajectory({ skipped, noiseFloor, rule, contexts, run })
  return { trajectory, activations: built.activations }
}
