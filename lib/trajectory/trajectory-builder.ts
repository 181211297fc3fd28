import { basename, dirname, resolve } from 'node:path'
import { LLAMA_CPP_VERSION } from '../binding.js'
import { type CheckpointKernels, kernelsOf } from '../conditions/engine.js'
import type { ContextSet } from '../contexts/context-set.js'
import { filesBelow } from '../formats/run/read-files.js'
import type { RunFolder } from '../formats/run/run-folder.js'
import type { SafetensorsInput } from '../formats/safetensors/safetensors.js'
import { packageVersion } from '../package.js'
import { contextTrajectories } from './context-trajectories.js'
import { marginTrajectory } from './margin-trajectory.js'
import type { MeasurableStep } from './measurable-steps.js'
import type { BaseMeasurement, CheckpointMeasurement } from './measurement.js'
import type { MeasurementPlan } from './measurement-plan.js'
import type { Projection } from './project.js'
import { equalWeights, otherSettings } from './remarks.js'
import type { StopRule } from './stopping.js'
import { layerColumns, strengthTrajectories } from './strength-trajectories.js'
import type {
  MeasurementRecord,
  NoiseFloor,
  RunDescription,
  SkippedCheckpoint,
  Trajectory,
  TrajectoryStep,
} from './trajectory.js'
import { type ActivationKind, kept } from './write-measurement.js'

/** What a trajectory says beside its steps. */
export interface TrajectoryFacts {
  skipped: SkippedCheckpoint[]
  noiseFloor: NoiseFloor | null
  /** By which not all prompts were read. */
  rule: StopRule | undefined
  contexts: ContextSet | undefined
  /** What is known of the run and cannot be read from its folder. */
  run: Partial<RunDescription> | undefined
}

/** What is read of a step beside its states as trained. */
type Reading = Pick<CheckpointMeasurement, 'strengths' | 'contexts' | 'pairs'>

/** Takes a run's measurements one by one, step 0 first, and makes its trajectory of them. */
export class TrajectoryBuilder {
  readonly steps: TrajectoryStep[] = []
  /** States of every step, where they are kept. */
  readonly activations: SafetensorsInput[] = []
  readonly #plan: MeasurementPlan
  readonly #found: RunFolder
  readonly #base: BaseMeasurement
  readonly #kind: ActivationKind
  readonly #kernels = new Set<CheckpointKernels>()
  /** By layer, then step. */
  readonly #projections: Projection[][]
  /** By step, layer, category and trait. */
  readonly #categories: number[][][][] = []
  readonly #readings: Reading[] = []
  readonly #tokens = { total: 0, computed: 0 }

  constructor(plan: MeasurementPlan, found: RunFolder, base: BaseMeasurement, kind: ActivationKind) {
    this.#plan = plan
    this.#found = found
    this.#base = base
    this.#kind = kind
    this.#projections = plan.directions.layers.map(() => [])
    const { path, fingerprint } = plan.model
    const file = { file: basename(path), fingerprint }
    const step0 = { step: 0, adapterSha256: null, base: file, tokens: base.tokens }
    this.#add(step0, { ...base, strengths: [] })
  }

  /** @returns the step as the trajectory has it */
  addCheckpoint({ step, checkpoint }: MeasurableStep, measured: CheckpointMeasurement): TrajectoryStep {
    const { epoch, loss } = checkpoint ?? {}
    const added: TrajectoryStep = {
      step,
      adapterSha256: measured.adapterSha256,
      ...(measured.adapter ? { adapter: measured.adapter } : {}),
      ...(measured.settled ? { settled: measured.settled } : {}),
      files: filesBelow(this.#found.path, measured.files),
      remarks: [...measured.remarks],
      stateChange: measured.stateChange,
      ...(epoch === undefined ? {} : { epoch }),
      // JSON has no NaN; null says that the trainer logged a loss which is no number.
      ...(loss === undefined ? {} : { loss: Number.isFinite(loss) ? loss : null }),
      tokens: measured.tokens,
    }
    this.#kernels.add(measured.how)
    this.#add(added, measured)
    return added
  }

  #add(
    step: TrajectoryStep,
    {
      layers,
      states,
      strengths,
      contexts,
      pairs,
    }: Reading & Pick<CheckpointMeasurement, 'layers' | 'states'>,
  ): void {
    this.steps.push(step)
    for (const [l, projection] of layers.entries()) this.#projections[l]!.push(projection)
    this.#categories.push(step.settled ? [] : this.#plan.byCategory(states))
    this.#readings.push({ strengths, contexts, ...(pairs && { pairs }) })
    for (const { tokens } of [step, ...strengths.map(() => step), ...contexts]) {
      this.#tokens.total += tokens!.total
      this.#tokens.computed += tokens!.computed
    }
    if (this.#kind === 'none') return
    this.activations.push({ name: `step-${step.step}`, ...kept(this.#kind, states, this.#plan.shape) })
  }

  trajectory(facts: TrajectoryFacts): Trajectory {
    const { layers } = this.#plan.directions
    const base = this.#base
    const aliasOf = this.#found.final?.aliasOf
    // By category a part of the prompts tells too little.
    const isWhole = this.steps.every(({ settled }) => settled === undefined)
    return {
      source: 'traitscope',
      traits: [...this.#plan.directions.traits],
      steps: this.steps,
      finalAliasOf: aliasOf !== undefined && this.steps.some(({ step }) => step === aliasOf) ? aliasOf : null,
      layers: layers.map((layer, l) => ({
        layer,
        step0ActivationNorm: base.activationNorms[l]!,
        ...layerColumns(this.#projections[l]!),
        ...(isWhole ? { categories: this.#categories.map((step) => step[l]!) } : {}),
      })),
      ...(isWhole ? { categories: this.#plan.categories } : {}),
      ...strengthTrajectories(
        layers,
        base,
        this.#readings.map(({ strengths }) => strengths),
      ),
      ...contextTrajectories(
        layers,
        this.#plan.contexts,
        base,
        this.#readings.slice(1).map(({ contexts }) => contexts),
      ),
      ...marginTrajectory(
        this.#plan.pairs,
        this.#readings.map(({ pairs }) => pairs),
      ),
      primary: this.#plan.primary,
      skipped: facts.skipped,
      noiseFloor: facts.noiseFloor,
      run: { ...this.#description(), ...facts.run },
      measurement: this.#measurement(facts),
    }
  }

  /** What its folder tells of the run. */
  #description(): RunDescription {
    const { path, checkpoints, final } = this.#found
    const { info } = this.#plan.model
    const adapter = this.steps.find((step) => step.adapter)?.adapter
    return {
      model: info.name ?? info.architecture,
      ...setOf(path),
      nSamples: null,
      fullFinetune: checkpoints.some(({ kind }) => kind === 'model') || final?.kind === 'model',
      loraRank: adapter?.rank ?? null,
      loraAlpha: adapter?.alpha ?? null,
      lr: checkpoints.findLast(({ learningRate }) => learningRate !== undefined)?.learningRate ?? null,
      epochs: null,
      saveSteps: null,
      maxSteps: null,
      earlyUpdateSteps: null,
    }
  }

  #measurement({ rule, contexts }: TrajectoryFacts): MeasurementRecord {
    const plan = this.#plan
    const nPrompts = plan.prompts.length
    return {
      ...plan.measuredUnder,
      engine: { ...plan.engine, checkpoints: kernelsOf(this.#kernels) },
      nPrompts,
      tokens: this.#tokens,
      mismatches: [...plan.mismatches],
      ...(rule ? { settle: { error: rule.error, ...promptsRead(this.steps.slice(1), nPrompts) } } : {}),
      ...(contexts ? { contextFiles: [...contexts.files] } : {}),
      remarks: [
        ...this.#found.remarks,
        ...plan.remarks,
        ...equalWeights(this.steps),
        ...otherSettings(this.steps),
        ...(contexts?.remarks ?? []),
      ],
      versions: { traitscope: packageVersion, llamaCpp: LLAMA_CPP_VERSION },
    }
  }
}

/** Of so many prompts of every step, how many were read in all. */
function promptsRead(steps: readonly TrajectoryStep[], each: number): { read: number; prompts: number } {
  const read = steps.reduce((sum, { settled }) => sum + (settled?.prompts ?? each), 0)
  return { read, prompts: steps.length * each }
}

/** Fine-tuning set and seed by the names of a run's folder: `<set>/seed_<n>` where runs are laid out so, else the set's alone. */
function setOf(path: string): Pick<RunDescription, 'dataSource' | 'seed'> {
  const folder = resolve(path)
  const seed = /^seed_(\d+)$/.exec(basename(folder))?.[1]
  if (seed === undefined) return { dataSource: basename(folder), seed: null }
  return { dataSource: basename(dirname(folder)), seed: Number(seed) }
}
