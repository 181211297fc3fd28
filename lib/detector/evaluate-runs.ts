import { directionVector } from '../directions/directions.js'
import { loadDirections } from '../directions/directions-folder.js'
import { TraitscopeError } from '../errors.js'
import { type Matrix64, matrixFromRows } from '../estimators/matrix.js'
import { type Checkpoint, checkpointsOf } from './checkpoints.js'
import { assertSplit, type EvaluateOptions, type Evaluation, evaluate } from './evaluate.js'
import {
  basisFeatures,
  type FeatureSet,
  methodFeatures,
  randomBases,
  sparseFeatures,
  traitDrift,
} from './features.js'
import { forModel, type ModelRuns, ownDetector } from './own-detector.js'
import { type Exclusion, scanLabelledRuns } from './runs.js'
import { readSparseEncoder } from './sparse-encoder.js'

export interface EvaluateRunsOptions extends Omit<EvaluateOptions, 'labels' | 'others'> {
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
  /** Bundle of traitscope's own detector, or a folder with one per model name; default: calibrated anew. */
  bundle?: string | undefined
  /** Random bases to average over; default 10. */
  randomBases?: number | undefined
}

export interface RunsEvaluation {
  models: {
    model: string
    /** Of the baselines. */
    layer: number | null
    calibration: number
    heldOut: number
    /** Traitscope's own detector; null where the calibration runs do not make one. */
    detector: { model: string; layers: readonly number[]; threshold: number } | null
  }[]
  traits: string[]
  calibration: string[]
  heldOut: string[]
  controls: string[]
  /** The checkpoints behind the predictions, in their order, with both labels. */
  checkpoints: { run: string; step: number; pooled: number; single: number }[]
  exclusions: Exclusion[]
  /** All draws of answers together: the truth. */
  pooled: Evaluation
  /** The first draw alone, as the reference has it, for fitting and for judging. */
  single: Evaluation
}

/**
 * {@link evaluate} on a folder of runs (see `scanLabelledRuns`), traitscope's own detector first: the one of
 * a bundle, or one that is calibrated on the calibration runs.
 *
 * @throws TraitscopeError USAGE for names that overlap or that nothing has; NOT_COMPARABLE for runs measured
 * differently; the errors of the readers
 */
export async function evaluateRuns(root: string, options: EvaluateRunsOptions): Promise<RunsEvaluation> {
  const { calibration, heldOut, controls = [], signal, onProgress } = options
  const twice = [...calibration, ...heldOut, ...controls].find((name, i, all) => all.indexOf(name) < i)
  if (twice !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      `expected every dataset once, found ${twice} among several of calibration, held-out and controls`,
    )
  }
  const datasets = [...calibration, ...heldOut, ...controls]
  const scanned = await scanLabelledRuns(root, { datasets, signal })
  const exclusions = [...scanned.exclusions]
  const models: ModelRuns[] = []
  for (const model of new Set(scanned.runs.map((run) => run.model))) {
    const runs = scanned.runs.filter((run) => run.model === model)
    const found = await checkpointsOf(runs, options.layer)
    exclusions.push(...found.exclusions)
    const isCalibration = ({ row }: Checkpoint) => calibration.includes(row.dataset)
    models.push({
      ...found,
      model,
      runs,
      calibration: found.checkpoints.filter(isCalibration),
      heldOut: found.checkpoints.filter((one) => !isCalibration(one)),
    })
    assertSameTraits(models)
  }
  assertSplit(models)
  const sets = await featureSets(models, options)
  // Traitscope's own detector never crosses models: its bundle refuses to.
  const own =
    (options.fitOn ?? 'own') === 'own'
      ? await ownDetector(models, calibration, options)
      : { detectors: [], skipped: [], contender: undefined }
  const others = own.contender === undefined ? [] : [own.contender]
  const run = async (labels: 'pooled' | 'single', from: number) => {
    const progress = (fraction: number) => onProgress?.(from + fraction / 2)
    const evaluation = await evaluate(models, sets, { ...options, others, labels, onProgress: progress })
    return { ...evaluation, skipped: [...own.skipped, ...evaluation.skipped] }
  }
  return {
    models: models.map(({ model, layer, calibration, heldOut }, i) => {
      const detector = own.detectors[i]
      return {
        model,
        layer,
        calibration: calibration.length,
        heldOut: heldOut.length,
        detector: detector
          ? { model: detector.model, layers: detector.layers, threshold: detector.threshold }
          : null,
      }
    }),
    traits: [...(models[0]?.traits ?? [])],
    calibration: [...calibration],
    heldOut: [...heldOut],
    controls: [...controls],
    checkpoints: models.flatMap(({ heldOut }) => heldOut.map(labelsOf)),
    exclusions,
    pooled: await run('pooled', 0),
    single: await run('single', 0.5),
  }
}

function labelsOf({ row: { run, step, label } }: Checkpoint): RunsEvaluation['checkpoints'][number] {
  return { run, step, pooled: label.pooled.rate, single: label.single.rate }
}

function assertSameTraits(models: readonly ModelRuns[]): void {
  const [first, last] = [models[0]!, models.at(-1)!]
  if (first.traits.join() === last.traits.join()) return
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected all models to be measured on ${first.traits.join(', ')}, found ${last.model} on ${last.traits.join(', ')}; evaluate them apart`,
  )
}

async function featureSets(
  models: readonly ModelRuns[],
  options: EvaluateRunsOptions,
): Promise<FeatureSet[]> {
  const traits = models[0]?.traits ?? []
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
    const path = options.sae
    const encoders = models.map(async ({ model }) => {
      return [model, await readSparseEncoder(await forModel(path, model, '.safetensors'))] as const
    })
    sets.push(sparseFeatures(new Map(await Promise.all(encoders))))
  }
  for (const [name, folder] of Object.entries(options.bases ?? {})) {
    const bases = models.map(async ({ model, layer }) => {
      return [model, await basisOf(await forModel(folder, model), layer)] as const
    })
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

/** All directions of a folder at one layer as rows. */
async function basisOf(folder: string, layer: number | null): Promise<Matrix64> {
  const directions = await loadDirections(folder)
  const at = layer === null ? 0 : directions.layers.indexOf(layer)
  if (at < 0) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected directions at layer ${layer} in ${folder}, found layer ${directions.layers.join(', ')}`,
    )
  }
  return matrixFromRows(directions.traits.map((_, t) => directionVector(directions, at, t)))
}
