import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { directionVector } from '../directions/directions.js'
import { loadDirections } from '../directions/directions-folder.js'
import { TraitscopeError } from '../errors.js'
import { type Matrix64, matrixFromRows } from '../estimators/matrix.js'
import { type Checkpoint, checkpointsOf } from './checkpoints.js'
import type { ModelCheckpoints } from './contenders.js'
import { type EvaluateOptions, type Evaluation, evaluate } from './evaluate.js'
import {
  basisFeatures,
  type FeatureSet,
  methodFeatures,
  randomBases,
  sparseFeatures,
  traitDrift,
} from './features.js'
import { type Exclusion, type LabelledRun, scanLabelledRuns } from './runs.js'
import { readSparseEncoder } from './sparse-encoder.js'

export interface EvaluateRunsOptions extends EvaluateOptions {
  /** Datasets that detectors are fitted on, and that they are judged on; by folder name. */
  calibration: readonly string[]
  heldOut: readonly string[]
  /** Datasets outside the benchmark that are judged apart, e.g. benign ones with a large drift. */
  controls?: readonly string[] | undefined
  /** 0-based block; default the primary layer of each model's runs. */
  layer?: number | undefined
  /** Names of feature sets to compare; default all. */
  features?: readonly string[] | undefined
  /** Sets of traits that become feature sets of their own. */
  traitSubsets?: readonly (readonly string[])[] | undefined
  /**
   * Further directions, by a name of their own: a directions folder, or a folder with one of them per model
   * name.
   */
  bases?: Readonly<Record<string, string>> | undefined
  /** Sparse autoencoder: a safetensors file, or a folder with `<model>.safetensors`. */
  sae?: string | undefined
  /** Random bases to average over; default 10. */
  randomBases?: number | undefined
}

export interface RunsEvaluation extends Evaluation {
  models: { model: string; layer: number | null; calibration: number; heldOut: number }[]
  traits: string[]
  calibration: string[]
  heldOut: string[]
  controls: string[]
  /** The checkpoints behind the predictions, in their order. */
  checkpoints: { run: string; step: number; pooled: number; single: number }[]
  exclusions: Exclusion[]
}

/**
 * {@link evaluate} on a folder of runs (see `scanLabelledRuns`).
 *
 * @throws TraitscopeError USAGE for names that overlap or that nothing has; NOT_COMPARABLE for runs measured
 * differently; the errors of the readers
 */
export async function evaluateRuns(root: string, options: EvaluateRunsOptions): Promise<RunsEvaluation> {
  const { controls = [] } = options
  const judged = [...options.heldOut, ...controls]
  const twice = [...options.calibration, ...judged].find((name, i, all) => all.indexOf(name) < i)
  if (twice !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      `expected every dataset once, found ${twice} among several of calibration, held-out and controls`,
    )
  }
  const scanned = await scanLabelledRuns(root, {
    datasets: [...options.calibration, ...judged],
    signal: options.signal,
  })
  const exclusions = [...scanned.exclusions]
  const models: (ModelCheckpoints & { layer: number | null })[] = []
  let traits: string[] | undefined
  for (const model of new Set(scanned.runs.map((run) => run.model))) {
    const found = await checkpointsOf(
      scanned.runs.filter((run) => run.model === model),
      options.layer,
    )
    exclusions.push(...found.exclusions)
    traits ??= found.traits
    if (found.traits.join() !== traits.join()) {
      throw new TraitscopeError(
        'NOT_COMPARABLE',
        `expected all models to be measured on ${traits.join(', ')}, found ${model} on ${found.traits.join(', ')}; evaluate them apart`,
      )
    }
    const within = (names: readonly string[]) =>
      found.checkpoints.filter(({ row }) => names.includes(row.dataset))
    models.push({
      model,
      layer: found.layer,
      calibration: within(options.calibration),
      heldOut: within(judged),
    })
  }
  const sets = await featureSets(models, scanned.runs, traits ?? [], options)
  const evaluation = await evaluate(models, sets, controls, options)
  return {
    ...evaluation,
    models: models.map(({ model, layer, calibration, heldOut }) => {
      return { model, layer, calibration: calibration.length, heldOut: heldOut.length }
    }),
    traits: traits ?? [],
    calibration: [...options.calibration],
    heldOut: [...options.heldOut],
    controls: [...controls],
    checkpoints: models
      .flatMap(({ heldOut }) => heldOut)
      .map(({ row: { run, step, label } }) => {
        return { run, step, pooled: label.pooled.rate, single: label.single.rate }
      }),
    exclusions,
  }
}

async function featureSets(
  models: readonly (ModelCheckpoints & { layer: number | null })[],
  runs: readonly LabelledRun[],
  traits: readonly string[],
  options: EvaluateRunsOptions,
): Promise<FeatureSet[]> {
  const names = [...new Set(runs.map(({ model }) => model))]
  const sets = methodFeatures(traits)
  for (const subset of options.traitSubsets ?? []) {
    const unknown = subset.find((trait) => !traits.includes(trait))
    if (unknown !== undefined) {
      throw new TraitscopeError(
        'USAGE',
        `no trait is called ${unknown}; the runs were measured on ${traits.join(', ')}`,
      )
    }
    sets.push(traitDrift(subset.join('+'), traits, subset))
  }
  if (options.sae !== undefined) {
    const { sae } = options
    const encoders = names.map(async (model) => {
      const own = join(sae, `${model}.safetensors`)
      return [model, await readSparseEncoder((await exists(own)) ? own : sae)] as const
    })
    sets.push(sparseFeatures(new Map(await Promise.all(encoders))))
  }
  for (const [name, folder] of Object.entries(options.bases ?? {})) {
    const bases = models.map(
      async ({ model, layer }) => [model, await basisOf(folder, model, layer)] as const,
    )
    sets.push(basisFeatures(name, new Map(await Promise.all(bases))))
  }
  const widths = models.map(({ model, calibration }) => [model, widthOf(calibration)] as const)
  sets.push(...randomBases(new Map(widths), { bases: options.randomBases ?? 10, vectors: traits.length }))
  const { features } = options
  const known = [...new Set(sets.map(({ name, family }) => family ?? name))]
  const unknown = features?.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new TraitscopeError('USAGE', `no feature set is called ${unknown}; there are ${known.join(', ')}`)
  }
  return features === undefined ? sets : sets.filter(({ name, family }) => features.includes(family ?? name))
}

const widthOf = (checkpoints: readonly Checkpoint[]): number =>
  checkpoints.find(({ activation }) => activation !== null)?.activation?.length ?? 1

/** All directions of a folder at one layer as rows; the folder may hold one folder per model. */
async function basisOf(folder: string, model: string, layer: number | null): Promise<Matrix64> {
  const own = join(folder, model)
  const directions = await loadDirections((await exists(own)) ? own : folder)
  const at = layer === null ? 0 : directions.layers.indexOf(layer)
  if (at < 0) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected directions at layer ${layer} in ${folder}, found layer ${directions.layers.join(', ')}`,
    )
  }
  return matrixFromRows(directions.traits.map((_, t) => directionVector(directions, at, t)))
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
