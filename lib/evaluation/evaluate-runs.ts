import { takeOptions } from '../arguments.js'
import type { Detector } from '../detector/detector.js'
import { directionRows } from '../directions/directions.js'
import { loadDirections } from '../directions/directions-folder.js'
import { TraitscopeError } from '../errors.js'
import type { Matrix64 } from '../estimators/matrix.js'
import { checkDraws } from '../estimators/mt19937.js'
import type { StepLabels } from '../labels/grades.js'
import type { LabelSource } from '../labels/label-source.js'
import { datasetsBelow, type Exclusion, type LabelledRun } from '../runs/runs.js'
import { evaluate } from './evaluate.js'
import { EVALUATE_RUNS_OPTIONS, type EvaluateRunsOptions, type Evaluation } from './evaluation.js'
import {
  basisFeatures,
  type FeatureSet,
  methodFeatures,
  randomBases,
  sparseFeatures,
  traitDrift,
} from './features.js'
import type { LabelledCheckpoint } from './labelled-checkpoints.js'
import { matchedPair, type PairComparison } from './matched-pair.js'
import { type OracleThreshold, oracleThresholds } from './oracle-threshold.js'
import { readPersona } from './persona.js'
import { type ModelRuns, readModels } from './read-models.js'
import { readSparseEncoder } from './sparse-encoder.js'
import { type StepAwareData, type StepAwareResult, stepAware } from './step-aware.js'
import { enumerateTraits, type TraitEnumeration } from './trait-enumeration.js'
import { forModel, OWN_NAME, type OwnDetector, ownDetector } from './traitscope-contender.js'

/** What a comparison on folders of runs found. */
export interface RunsEvaluation {
  models: {
    model: string
    /** Of the baselines. */
    layer: number | null
    calibration: number
    /** Of the calibration checkpoints: a model without any cannot be monitored, whatever a table says of it. */
    calibrationDangerous: number
    heldOut: number
    /** Who labelled its runs, and how; null where their files do not say. */
    labels: LabelSource | null
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
  /** The first draw alone, as the reference has it, for fitting and for testing. */
  single: Evaluation
  /** Null unless a pair was named. */
  pair: PairComparison[] | null
  /** Null unless an anchor was named. */
  stepAware: StepAwareResult[] | null
  /** Null unless asked for. */
  enumeration: TraitEnumeration | null
  oracle: OracleThreshold[] | null
}

/**
 * Every detector on held-out runs of a folder (see `scanLabelledRuns`), none of which it was fitted on, traitscope's own detector first: the one of
 * a bundle, or one that is calibrated on the calibration runs.
 *
 * @throws TraitscopeError USAGE for names that overlap or that nothing has; NOT_COMPARABLE for runs measured
 * differently; the errors of the readers
 */
export async function evaluateRuns(root: string, options: EvaluateRunsOptions): Promise<RunsEvaluation> {
  const wanted = takeOptions('evaluateRuns', options, EVALUATE_RUNS_OPTIONS)
  if (wanted.draws !== undefined) checkDraws(wanted.draws)
  const namesOf = (patterns: readonly string[]) => datasetsBelow(root, patterns, wanted.signal)
  const calibration = await namesOf(wanted.calibration)
  const heldOut = await namesOf(wanted.heldOut)
  const controls = await namesOf(wanted.controls ?? [])
  const settings = { ...wanted, calibration, heldOut, controls }
  const { pair, anchor, onProgress } = settings
  assertNames(settings)
  const { models, exclusions } = await readModels(root, settings)
  const traits = models[0]?.traits ?? []
  const sets = await featureSets(models, settings)
  // Traitscope's own detector never crosses models: its bundle refuses to.
  const own =
    (settings.fitOn ?? 'own') === 'own'
      ? await ownDetector(models, calibration, settings)
      : { detectors: [], skipped: [], contender: undefined }
  const stages = wanted.enumerateTraits ? 3 : 2
  const stage = (index: number) => (fraction: number) => onProgress?.((index + fraction) / stages)
  const run = async (labels: 'pooled' | 'single', index: number) => {
    const { contender, skipped } = labels === 'pooled' ? own : await ownOnSingleDraws(models, own, settings)
    const others = contender === undefined ? [] : [contender]
    const evaluation = await evaluate(models, sets, { ...settings, others, labels, onProgress: stage(index) })
    return { ...evaluation, skipped: [...skipped, ...evaluation.skipped] }
  }
  const pooled = await run('pooled', 0)
  const single = await run('single', 1)
  const enumeration = wanted.enumerateTraits
    ? await enumerateTraits(models, traits, pooled, { ...settings, onProgress: stage(2) })
    : null
  const checkpoints = models.flatMap((one) => one.heldOut.map(labelsOf))
  return {
    models: models.map((one, i) => summaryOf(one, own.detectors[i], pooled.cut)),
    traits: [...traits],
    calibration: [...calibration],
    heldOut: [...heldOut],
    controls: [...controls],
    checkpoints,
    exclusions,
    pooled,
    single,
    pair:
      pair === undefined
        ? null
        : matchedPair(models, pooled, { ...settings, dangerous: pair[0], safe: pair[1], traits }),
    stepAware: anchor === undefined ? null : stepAware(models.map(withAnchors), traits, pooled.cut),
    enumeration,
    oracle: wanted.oracleThreshold ? oracleThresholds({ pooled, checkpoints }) : null,
  }
}

/** Where one draw is the label, it is what every row is fitted on. */
async function ownOnSingleDraws(
  models: readonly ModelRuns[],
  pooled: Pick<OwnDetector, 'contender' | 'skipped'>,
  options: EvaluateRunsOptions,
): Promise<Pick<OwnDetector, 'contender' | 'skipped'>> {
  if (pooled.contender === undefined) return pooled
  if (options.bundle !== undefined) {
    const reason = 'its bundle was calibrated on all draws: without --bundle it is calibrated on one'
    return { contender: undefined, skipped: [{ features: OWN_NAME, reason }] }
  }
  const onOneDraw = models.map((model) => ({ ...model, runs: model.runs.map(withSingleDraws) }))
  return ownDetector(onOneDraw, options.calibration, options)
}

function withSingleDraws(run: LabelledRun): LabelledRun {
  const labels = [...run.labels].map(([step, { unscored: _, ...label }]): [number, StepLabels] => [
    step,
    { ...label, pooled: label.single, draws: 1 },
  ])
  return { ...run, labels: new Map(labels) }
}

function assertNames(options: EvaluateRunsOptions): void {
  const { calibration, heldOut, controls = [], pair, anchor, probes, fitOn } = options
  const tested = [...heldOut, ...controls]
  const twice = [...calibration, ...tested].find((name, i, all) => all.indexOf(name) < i)
  if (twice !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      `expected every dataset once, found ${twice} among several of calibration, held-out and controls`,
    )
  }
  if (probes !== undefined && (fitOn ?? 'own') === 'own') {
    throw new TraitscopeError('USAGE', 'probes are tested by detectors of other models: fit on others')
  }
  const stranger = pair?.find((name) => !tested.includes(name))
  if (stranger !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      `expected both sets of the pair among the held-out ones or the controls, found ${stranger} in neither`,
    )
  }
  if (anchor !== undefined && calibration.includes(anchor)) {
    throw new TraitscopeError(
      'USAGE',
      `the anchor ${anchor} must not be a calibration set: it joins them anyway`,
    )
  }
}

/** Every anchor run makes a fold of its own. */
function withAnchors({ model, calibration, heldOut, anchor }: ModelRuns): StepAwareData {
  const runs = [...new Set(anchor.map(({ row }) => row.run))]
  const anchors = runs.map((run) => anchor.filter(({ row }) => row.run === run))
  return { model, calibration, anchors, test: heldOut }
}

function summaryOf(
  { model, layer, calibration, heldOut, runs }: ModelRuns,
  detector: Detector | undefined,
  cut: number,
): RunsEvaluation['models'][number] {
  return {
    model,
    layer,
    calibration: calibration.length,
    calibrationDangerous: calibration.filter(({ row }) => row.label.pooled.rate > cut).length,
    heldOut: heldOut.length,
    labels: runs.find(({ source }) => source !== undefined)?.source ?? null,
    detector: detector
      ? { model: detector.model, layers: detector.layers, threshold: detector.threshold }
      : null,
  }
}

function labelsOf({ row: { run, step, label } }: LabelledCheckpoint): RunsEvaluation['checkpoints'][number] {
  return { run, step, pooled: label.pooled.rate, single: label.single.rate }
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
    const repeated = subset.find((trait, i) => subset.indexOf(trait) < i)
    if (repeated !== undefined)
      throw new TraitscopeError('USAGE', `expected every trait of a subset once, found ${repeated} twice`)
    sets.push(traitDrift(subset.join('+'), traits, subset))
  }
  if (options.sae !== undefined) {
    const path = options.sae
    const encoders = models.map(async ({ model, layer }) => {
      return [model, await readSparseEncoder(await forModel(path, model, '.safetensors'), layer)] as const
    })
    sets.push(sparseFeatures(new Map(await Promise.all(encoders))))
  }
  if (options.persona !== undefined) {
    const path = options.persona
    const persona = models.map(async ({ model, layer }) => {
      return [model, await readPersona(await forModel(path, model, '.safetensors'), layer)] as const
    })
    sets.push(basisFeatures('persona', new Map(await Promise.all(persona))))
  }
  for (const [name, folder] of Object.entries(options.bases ?? {})) {
    const bases = models.map(async ({ model, layer }) => {
      return [model, await basisOf(await forModel(folder, model), layer)] as const
    })
    sets.push(basisFeatures(name, new Map(await Promise.all(bases))))
  }
  const widths = models.map(({ model, calibration }) => [model, widthOf(calibration)] as const)
  sets.push(...randomBases(new Map(widths), { bases: options.randomBases ?? 10, vectors: traits.length }))
  // Bases and subsets have names of the user's.
  const names = sets.filter(({ family }) => family === undefined).map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) < i)
  if (twice !== undefined)
    throw new TraitscopeError(
      'USAGE',
      `expected a name of its own for every feature set, found ${twice} twice`,
    )
  const { features } = options
  const known = [...new Set(sets.map(({ name, family }) => family ?? name))]
  const unknown = features?.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new TraitscopeError('USAGE', `no feature set is called ${unknown}; there are ${known.join(', ')}`)
  }
  return features === undefined ? sets : sets.filter(({ name, family }) => features.includes(family ?? name))
}

const widthOf = (checkpoints: readonly LabelledCheckpoint[]): number =>
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
  return directionRows(directions, at)
}
