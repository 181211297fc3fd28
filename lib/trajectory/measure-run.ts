import { basename, resolve } from 'node:path'
import { type OptionKinds, takeOptions } from '../arguments.js'
import { LLAMA_CPP_VERSION } from '../binding.js'
import { type CheckpointKernels, kernelsOf } from '../conditions/engine.js'
import type { Directions } from '../directions/directions.js'
import { computing, throwIfAborted } from '../errors.js'
import { publishFolder } from '../formats/files/atomic.js'
import { namedPath } from '../formats/files/named-path.js'
import { isRotatedAway } from '../formats/run/checkpoint.js'
import { filesBelow } from '../formats/run/read-files.js'
import { type RunFolder, refuseParent, scanRunFolder } from '../formats/run/run-folder.js'
import type { SafetensorsInput } from '../formats/safetensors/safetensors.js'
import type { Model } from '../model/model.js'
import { packageVersion } from '../package.js'
import { contextTrajectories } from './context-trajectories.js'
import { marginTrajectory } from './margin-trajectory.js'
import { nothingToMeasure, skippedOf, toMeasure } from './measurable-steps.js'
import { MeasureLog } from './measure-log.js'
import type { CheckpointMeasurement } from './measured.js'
import type { MeasurementPlan } from './measurement.js'
import { MEASUREMENT_OPTIONS, type MeasurementOptions, prepareMeasurement } from './prepare-measurement.js'
import type { Projection } from './project.js'
import { TRAJECTORY_FILE } from './read-trajectory.js'
import { equalWeights, otherSettings } from './step-remarks.js'
import { type MeasuredBase, refuseBesideSettling, type StopRule } from './stopping.js'
import { layerColumns, strengthTrajectories } from './strength-trajectories.js'
import type { RunDescription, Trajectory, TrajectoryStep } from './trajectory.js'
import {
  ACTIVATIONS,
  type ActivationKind,
  kept,
  type MeasuredSteps,
  writeOutputs,
} from './write-measurement.js'

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
  const found = await scanRunFolder(folder, { adapterName, ...(signal ? { signal } : {}) })
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
    await writeOutputs(folder, plan, measured, own.alsoWrite?.(trajectory) ?? [])
  }
  let log: MeasureLog | undefined
  try {
    await publishFolder(out, write, { force: own.force ?? false, marker: TRAJECTORY_FILE })
    await log?.remove()
  } finally {
    await log?.[Symbol.asyncDispose]()
  }
  return trajectory!
}

/** What is read of a checkpoint beside its states as trained. */
type Reading = Pick<CheckpointMeasurement, 'strengths' | 'contexts' | 'pairs'>

async function measureSteps(
  plan: MeasurementPlan,
  found: RunFolder,
  options: MeasureRunOptions,
  kind: ActivationKind,
  log?: MeasureLog,
): Promise<MeasuredSteps> {
  const { signal, onCheckpoint, onProgress } = options
  const { final } = found
  const skipped = skippedOf(found)
  const todo = await toMeasure(found, skipped)

  const steps: TrajectoryStep[] = []
  const met = new Set<CheckpointKernels>()
  const layers = plan.directions.layers.map((): Projection[] => [])
  const categories: number[][][][] = []
  const all: Reading[] = []
  const activations: SafetensorsInput[] = []
  const tokens = { total: 0, computed: 0 }
  const passOptions = (done: number) => ({
    signal,
    onProgress: onProgress && ((fraction: number) => onProgress((done + fraction) / (todo.length + 1))),
  })
  const record = (
    step: TrajectoryStep,
    {
      layers: projections,
      states,
      strengths,
      contexts,
      pairs,
    }: Reading & Pick<CheckpointMeasurement, 'layers' | 'states'>,
    resumed = false,
  ) => {
    steps.push(step)
    for (const [l, projection] of projections.entries()) layers[l]!.push(projection)
    categories.push(step.settled ? [] : plan.byCategory(states))
    all.push({ strengths, contexts, ...(pairs && { pairs }) })
    const passes = [step, ...strengths.map(() => step), ...contexts]
    for (const { tokens: pass } of passes) {
      tokens.total += pass!.total
      tokens.computed += pass!.computed
    }
    if (kind !== 'none') activations.push({ name: `step-${step.step}`, ...kept(kind, states, plan.shape) })
    onCheckpoint?.({
      ...step,
      layers: projections,
      done: steps.length,
      of: todo.length + 1,
      ...(resumed ? { resumed } : {}),
    })
  }

  const base = await plan.measureBase(passOptions(0))
  const { path, fingerprint } = plan.model
  record(
    { step: 0, adapterSha256: null, base: { file: basename(path), fingerprint }, tokens: base.tokens },
    { ...base, strengths: [] },
  )
  const noiseFloor = await plan.measureNoise(base, { signal })
  const rule = options.settle?.(plan.measuredBase(base))
  for (const [i, { step, weights, checkpoint }] of todo.entries()) {
    throwIfAborted(signal)
    try {
      const folders = [...(checkpoint ? [checkpoint.folder] : []), found.path]
      const before = await log?.get(weights, rule)
      const stopping = rule?.begin(plan.prompts.length)
      const measured =
        before ?? (await plan.measureCheckpoint(weights, base, { ...passOptions(i + 1), folders, stopping }))
      if (!before) await log?.put(weights, measured, rule)
      const { epoch, loss } = checkpoint ?? {}
      met.add(measured.how)
      record(
        {
          step,
          adapterSha256: measured.adapterSha256,
          ...(measured.adapter ? { adapter: measured.adapter } : {}),
          ...(measured.settled ? { settled: measured.settled } : {}),
          files: filesBelow(found.path, measured.files),
          remarks: [...measured.remarks],
          stateChange: measured.stateChange,
          ...(epoch === undefined ? {} : { epoch }),
          // JSON has no NaN; null says that the trainer logged a loss which is no number.
          ...(loss === undefined ? {} : { loss: Number.isFinite(loss) ? loss : null }),
          tokens: measured.tokens,
        },
        measured,
        before !== undefined,
      )
    } catch (error) {
      if (!(await isRotatedAway(error, weights.path))) throw computing(`step ${step}`, error)
      skipped.push({ step, reason: (error as Error).message })
      if (final && step === final.aliasOf) todo.push({ step: 'final', weights: final })
    }
  }
  if (steps.length === 1) await nothingToMeasure(found, skipped)
  onProgress?.(1)

  const aliasOf = final?.aliasOf
  const adapter = steps.find((step) => step.adapter)?.adapter
  // By category a part of the prompts tells too little.
  const isWhole = steps.every(({ settled }) => settled === undefined)
  const { info } = plan.model
  const trajectory: Trajectory = {
    source: 'traitscope',
    traits: [...plan.directions.traits],
    steps,
    finalAliasOf: aliasOf !== undefined && steps.some(({ step }) => step === aliasOf) ? aliasOf : null,
    layers: plan.directions.layers.map((layer, l) => ({
      layer,
      step0ActivationNorm: base.activationNorms[l]!,
      ...layerColumns(layers[l]!),
      ...(isWhole ? { categories: categories.map((step) => step[l]!) } : {}),
    })),
    ...(isWhole ? { categories: plan.categories } : {}),
    ...strengthTrajectories(
      plan.directions.layers,
      base,
      all.map(({ strengths }) => strengths),
    ),
    ...contextTrajectories(
      plan.directions.layers,
      plan.contexts,
      base,
      all.slice(1).map(({ contexts }) => contexts),
    ),
    ...marginTrajectory(
      plan.pairs,
      all.map(({ pairs }) => pairs),
    ),
    primary: plan.primary,
    skipped,
    noiseFloor,
    run: {
      model: info.name ?? info.architecture,
      dataSource: basename(resolve(found.path)),
      seed: null,
      nSamples: null,
      fullFinetune: found.checkpoints.some(({ kind }) => kind === 'model') || final?.kind === 'model',
      loraRank: adapter?.rank ?? null,
      loraAlpha: adapter?.alpha ?? null,
      lr: found.checkpoints.findLast(({ learningRate }) => learningRate !== undefined)?.learningRate ?? null,
      epochs: null,
      saveSteps: null,
      maxSteps: null,
      earlyUpdateSteps: null,
      ...options.run,
    },
    measurement: {
      ...plan.measuredUnder,
      engine: { ...plan.engine, checkpoints: kernelsOf(met) },
      nPrompts: plan.prompts.length,
      tokens,
      mismatches: [...plan.mismatches],
      ...(rule ? { settle: { error: rule.error, ...promptsRead(steps.slice(1), plan.prompts.length) } } : {}),
      ...(options.contexts ? { contextFiles: [...options.contexts.files] } : {}),
      remarks: [
        ...found.remarks,
        ...plan.remarks,
        ...equalWeights(steps),
        ...otherSettings(steps),
        ...(options.contexts?.remarks ?? []),
      ],
      versions: { traitscope: packageVersion, llamaCpp: LLAMA_CPP_VERSION },
    },
  }
  return { trajectory, activations }
}

/** Of so many prompts of every step, how many were read in all. */
function promptsRead(steps: readonly TrajectoryStep[], each: number): { read: number; prompts: number } {
  const read = steps.reduce((sum, { settled }) => sum + (settled?.prompts ?? each), 0)
  return { read, prompts: steps.length * each }
}
