import { dot, norm } from '../estimators/linalg.js'
import { type Matrix64, matrixFromRows, row } from '../estimators/matrix.js'
import { Mt19937 } from '../estimators/mt19937.js'
import { Pca } from '../estimators/pca.js'
import { PlsRegression } from '../estimators/pls-regression.js'
import { principalAxes } from '../geometry/principal-axis.js'
import type { LabelledCheckpoint } from './labelled-checkpoints.js'
import type { SparseEncoder } from './sparse-encoder.js'

/** What a detector reads of a checkpoint: the monitor's own drift, and everything it is compared with. */
export interface FeatureSet {
  name: string
  /** Sets of one family differ by chance only: their figures are averaged. */
  family?: string
  /** What the checkpoint lacks for this, in words; undefined when nothing. */
  lacks(checkpoint: LabelledCheckpoint): string | undefined
  /**
   * Fits what depends on data and returns the features of any checkpoint.
   *
   * @param train checkpoints of one model
   * @param pool those of all models, for the axis that they share
   * @param rate the label of a checkpoint, in [0, 1]
   */
  fit(
    train: readonly LabelledCheckpoint[],
    pool: readonly LabelledCheckpoint[],
    rate: (checkpoint: LabelledCheckpoint) => number,
  ): (checkpoint: LabelledCheckpoint) => readonly number[]
}

const nothing = () => undefined
const activations = ({ activation }: LabelledCheckpoint) => (activation === null ? 'activations' : undefined)
const loraNorms = ({ lora }: LabelledCheckpoint) => (lora === null ? 'LoRA norms' : undefined)

function plain(
  name: string,
  of: (checkpoint: LabelledCheckpoint) => readonly number[],
  lacks: FeatureSet['lacks'] = nothing,
): FeatureSet {
  return { name, lacks, fit: () => of }
}

/**
 * The feature sets of method section 9.3 that need nothing beside the runs.
 *
 * @param traits trait order of the drifts
 */
export function methodFeatures(traits: readonly string[]): FeatureSet[] {
  return [
    traitDrift(`${traits.length}D`, traits, traits),
    alongFirstAxis('|PC1|', traits, Math.abs),
    alongFirstAxis('PC1 signed', traits, (value) => value),
    plain('activation norm', ({ activation }) => [norm(activation!)], activations),
    plain(
      'training loss',
      ({ row }) => [row.loss!],
      ({ row }) => (row.loss === null ? 'a training log' : undefined),
    ),
    plain('step number', ({ row }) => [row.step]),
    pcaFeatures(7),
    plsFeatures(7),
    plain('LoRA norm', ({ lora }) => [lora!.total], loraNorms),
    plain('LoRA norm per matrix', ({ lora }) => lora!.perMatrix, loraNorms),
  ]
}

/** The drift of some traits, in the order of `kept`. */
export function traitDrift(name: string, traits: readonly string[], kept: readonly string[]): FeatureSet {
  const at = kept.map((trait) => traits.indexOf(trait))
  return plain(name, ({ drift }) => at.map((t) => drift[t]!))
}

/** Where runs end, as the first axis is made of it: the last checkpoint of every run. */
export function lastCheckpoints(checkpoints: readonly LabelledCheckpoint[]): LabelledCheckpoint[] {
  const last = new Map<string, LabelledCheckpoint>()
  for (const one of checkpoints) {
    if (one.row.step >= (last.get(one.row.run)?.row.step ?? 0)) last.set(one.row.run, one)
  }
  return [...last.values()]
}

/** The first axis of the final drifts, harmlessness upwards where it is measured. Method section 8.1. */
export function firstAxis(
  checkpoints: readonly LabelledCheckpoint[],
  traits: readonly string[],
): readonly number[] {
  const upwards = traits.indexOf('harmlessness')
  const drifts = lastCheckpoints(checkpoints).map(({ drift }) => drift)
  return principalAxes(drifts, upwards < 0 ? undefined : upwards).components[0]!
}

function alongFirstAxis(name: string, traits: readonly string[], of: (value: number) => number): FeatureSet {
  return {
    name,
    lacks: nothing,
    fit(_, pool) {
      const axis = firstAxis(pool, traits)
      return ({ drift }) => [of(dot(drift, axis))]
    },
  }
}

/** Coordinates of the activation drift in its own principal components. */
function pcaFeatures(nComponents: number): FeatureSet {
  return {
    name: `PCA-${nComponents}`,
    lacks: activations,
    fit(train) {
      const pca = new Pca({ nComponents }).fit(activationRows(train))
      return (checkpoint) => [...pca.transform(activationRows([checkpoint])).data]
    },
  }
}

/** Scores of the activation drift on the components that covary with the rate. */
function plsFeatures(nComponents: number): FeatureSet {
  return {
    name: `PLS-${nComponents}`,
    lacks: activations,
    fit(train, _, rate) {
      const pls = new PlsRegression({ nComponents }).fit(activationRows(train), train.map(rate))
      return (checkpoint) => [...pls.transform(activationRows([checkpoint])).data]
    },
  }
}

const activationRows = (checkpoints: readonly LabelledCheckpoint[]): Matrix64 =>
  matrixFromRows(checkpoints.map(({ activation }) => activation!))

/**
 * Projections of the activation drift on other directions: control traits, a persona vector.
 *
 * @param bases per model, unit rows of shape `[K, nEmbd]`
 */
export function basisFeatures(
  name: string,
  bases: ReadonlyMap<string, Matrix64>,
  family?: string,
): FeatureSet {
  return {
    name,
    ...(family !== undefined && { family }),
    lacks: (checkpoint) =>
      activations(checkpoint) ??
      (bases.get(checkpoint.row.model)?.cols === checkpoint.activation!.length
        ? undefined
        : `directions of the width of ${checkpoint.row.model}`),
    fit: () => (checkpoint) => {
      const basis = bases.get(checkpoint.row.model)!
      return Array.from({ length: basis.rows }, (_, k) => dot(row(basis, k), checkpoint.activation!))
    },
  }
}

/**
 * Bases of random unit vectors, one feature set each, drawn from NumPy's legacy normal numbers.
 *
 * @param widths nEmbd per model
 */
export function randomBases(
  widths: ReadonlyMap<string, number>,
  { bases = 10, vectors = 7, seed = 42 }: { bases?: number; vectors?: number; seed?: number } = {},
): FeatureSet[] {
  const random = new Mt19937(seed)
  return Array.from({ length: bases }, (_, i) => {
    const drawn = [...widths].map(([model, nEmbd]) => {
      const rows = Array.from({ length: vectors }, () => {
        const vector = Float64Array.from({ length: nEmbd }, () => random.randn())
        const length = norm(vector)
        return vector.map((value) => value / length)
      })
      return [model, matrixFromRows(rows)] as const
    })
    return basisFeatures(`random basis ${i + 1}`, new Map(drawn), 'random basis')
  })
}

/**
 * Change of a sparse autoencoder's features, `(z(h̄_s) − z(h̄_0)) / N` on prompt means. Method section 9.3.
 *
 * @param encoders per model
 */
export function sparseFeatures(encoders: ReadonlyMap<string, SparseEncoder>): FeatureSet {
  const first = [...encoders.values()][0]
  return {
    name: `SAE K=${first?.bias.length ?? 0}`,
    lacks: (checkpoint) =>
      activations(checkpoint) ??
      (encoders.get(checkpoint.row.model)?.weight.cols === checkpoint.activation!.length
        ? undefined
        : `an autoencoder of the width of ${checkpoint.row.model}`),
    fit:
      () =>
      ({ row: { model }, origin, activation, norm: n }) => {
        const encoder = encoders.get(model)!
        const before = encoder.encode(origin!)
        const after = encoder.encode(origin!.map((value, c) => value + n * activation![c]!))
        return Array.from(after, (value, k) => (value - before[k]!) / n)
      },
  }
}
