import { Needed, type OptionKinds, takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { cosine, dot, gram, norm } from '../estimators/linalg.js'
import { type Matrix64, row } from '../estimators/matrix.js'
import { checkDraws } from '../estimators/mt19937.js'
import { quantile } from '../estimators/quantile.js'
import { svd } from '../estimators/svd.js'
import { type NullOptions, nativeNull, projectedNull } from './isotropic-null.js'
import {
  type AxisWithoutGroup,
  leaveOneGroupOut,
  type PrincipalAxes,
  principalAxes,
} from './principal-axis.js'

/** Where one run ended: the drift at its last numbered step. */
export interface FinalDrift {
  run: string
  model: string
  dataset: string
  step: number
  /** Trait drift, see `DriftStep.values`. */
  values: readonly number[]
  /** Drift of the whole activation, `(h̄_s − h̄_0) / N`, shape `[nEmbd]`; null where the run has no activations. */
  activation: Float64Array | null
}

/** What the drifts are, and against what chance. */
export interface GeometryOptions extends NullOptions {
  /** Trait order of the drifts. */
  traits: readonly string[]
  /** Trait directions of every model as unit rows, shape `[nTraits, nEmbd]`; models may be missing. */
  directions?: ReadonlyMap<string, Matrix64> | undefined
  /** Trait that points along the positive first axis; ignored where it is not measured. */
  upwards?: string | undefined
}

const OPTIONS: OptionKinds<GeometryOptions> = {
  traits: new Needed('strings'),
  directions: 'any',
  upwards: 'string',
  draws: 'number',
  seed: 'number',
  signal: 'signal',
}

/** What chance makes of the share of the first axis. */
export interface NullShare {
  /** 95th percentile over the draws, in [0, 1]. */
  p95: number
  /** Observed share minus `p95`: the part that the basis does not explain. */
  excess: number
}

/** Geometry of the final drifts of one model, or of all together. */
export interface DriftGeometry extends PrincipalAxes {
  /** Null for all models together. */
  model: string | null
  nRuns: number
  /** With each dataset left out; empty for fewer than three datasets. */
  leftOut: AxisWithoutGroup[]
  /** In the space of the activations; null without activations, and for all models together. */
  native: { shares: number[]; null: NullShare } | null
  /** The controls that need directions too; null without them. */
  basis: BasisControls | null
}

/** What the overlap of the trait directions explains. */
export interface BasisControls {
  /** Of the first trait axis. */
  null: NullShare
  /** Share of the first axis after the overlap is taken out: `x (D Dᵀ)^(-1/2)`. */
  whitenedShare: number
  /** The rest is null for all models together, which have spaces of their own. */
  space: {
    /** |cos| between the first axis of the activation drifts and the first trait axis carried into their space. */
    cosineWithNativeAxis: number
    /** Largest over smallest eigenvalue of the Gram matrix of the directions. */
    gramCondition: number
    /** Cosines of all pairs of directions, shape `[nTraits, nTraits]`. */
    traitCosines: number[][]
    /** ‖D·(activation drift) − trait drift‖ / ‖trait drift‖ over all runs: 0 but for rounding. */
    mismatch: number
  } | null
}

/** The axes of final drifts, over all models and per model. */
export interface Geometry {
  traits: string[]
  upwards: string | null
  draws: number
  pooled: DriftGeometry
  models: DriftGeometry[]
}

/**
 * Geometry of where runs end: the first axis of their drifts, how much of it one dataset carries, and how
 * much of its share chance would give. Method section 8. Random draws follow one stream per model and one for
 * all together.
 *
 * @throws TraitscopeError SHAPE for fewer than two runs; USAGE for no draws; NOT_COMPARABLE when directions and drifts differ in
 * shape; ABORTED
 */
export async function driftGeometry(
  finals: readonly FinalDrift[],
  options: GeometryOptions,
): Promise<Geometry> {
  const own = takeOptions('driftGeometry', options, OPTIONS)
  const { traits, draws = 1000 } = own
  checkDraws(draws)
  if (finals.length < 2) {
    throw new TraitscopeError('SHAPE', `the geometry of drifts needs at least 2 runs, got ${finals.length}`)
  }
  const upwards = own.upwards ?? 'harmlessness'
  const at = traits.indexOf(upwards)
  const models = [...new Set(finals.map(({ model }) => model))]
  const of = (model: string | null) => {
    const runs = finals.filter((one) => model === null || one.model === model)
    return geometryOf(model, runs, { ...own, draws }, at < 0 ? undefined : at)
  }
  const pooled = await of(null)
  const each: DriftGeometry[] = []
  for (const model of models) {
    if (finals.filter((one) => one.model === model).length > 1) each.push(await of(model))
  }
  return { traits: [...traits], upwards: at < 0 ? null : upwards, draws, pooled, models: each }
}

async function geometryOf(
  model: string | null,
  runs: readonly FinalDrift[],
  options: GeometryOptions,
  upwards: number | undefined,
): Promise<DriftGeometry> {
  const drifts = runs.map(({ values }) => values)
  const axes = principalAxes(drifts, upwards)
  const groups = runs.map(({ dataset, values }) => ({ group: dataset, values }))
  const nDatasets = new Set(runs.map(({ dataset }) => dataset)).size
  const leftOut = nDatasets < 3 ? [] : leaveOneGroupOut(groups, axes.components[0]!)
  const activations = runs.map(({ activation }) => activation)
  const bases = runs.map((run) => options.directions?.get(run.model))
  const observed = { model, nRuns: runs.length, ...axes, leftOut }
  if (!activations.every((states) => states !== null)) return { ...observed, native: null, basis: null }
  const lengths = activations.map(norm)
  const own = model === null ? undefined : principalAxes(activations)
  const native = own && {
    shares: own.shares.slice(0, 5),
    null: excessOver(await nativeNull(lengths, activations[0]!.length, options), own.shares[0]!),
  }
  if (!bases.every((basis) => basis !== undefined))
    return { ...observed, native: native ?? null, basis: null }
  for (const [i, basis] of bases.entries()) assertFits(runs[i]!, basis, activations[i]!)
  const whiteners = new Map([...new Set(bases)].map((basis) => [basis, whitener(basis)]))
  const whitened = drifts.map((values, i) => timesMatrix(values, whiteners.get(bases[i]!)!))
  const basis = {
    null: excessOver(await projectedNull(lengths, bases, options), axes.shares[0]!),
    whitenedShare: principalAxes(whitened).shares[0]!,
    space: own ? spaceOf(runs, bases[0]!, activations, axes.components[0]!, own.components[0]!) : null,
  }
  return { ...observed, native: native ?? null, basis }
}

function spaceOf(
  runs: readonly FinalDrift[],
  basis: Matrix64,
  activations: readonly Float64Array[],
  traitAxis: readonly number[],
  nativeAxis: readonly number[],
): BasisControls['space'] {
  const carried = new Float64Array(basis.cols)
  for (const [t, weight] of traitAxis.entries()) {
    for (const [c, value] of row(basis, t).entries()) carried[c]! += weight * value
  }
  let error = 0
  let size = 0
  for (const [i, { values }] of runs.entries()) {
    for (const [t, value] of values.entries()) {
      error += (dot(row(basis, t), activations[i]!) - value) ** 2
      size += value * value
    }
  }
  const { values } = svd(basis)
  return {
    cosineWithNativeAxis: Math.abs(cosine(nativeAxis, carried)),
    gramCondition: (values[0]! / values.at(-1)!) ** 2,
    traitCosines: cosines(basis),
    mismatch: size > 0 ? Math.sqrt(error / size) : 0,
  }
}

function assertFits({ run, values }: FinalDrift, basis: Matrix64, activation: Float64Array): void {
  if (basis.rows === values.length && basis.cols === activation.length) return
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected directions of ${values.length} traits x ${activation.length} for ${run}, found ${basis.rows} x ${basis.cols}; name the directions that the run was measured with`,
  )
}

function excessOver(shares: readonly number[], observed: number): NullShare {
  const p95 = quantile(shares, 0.95)
  return { p95, excess: observed - p95 }
}

/** `(D Dᵀ)^(-1/2)`, symmetric, shape `[K, K]`, for directions as rows. */
function whitener(basis: Matrix64): Matrix64 {
  const { left, values } = svd(basis)
  const k = basis.rows
  if (!(values.length === k && values[k - 1]! > 1e-10 * values[0]!)) {
    throw new TraitscopeError(
      'SHAPE',
      `the ${k} trait directions depend on each other, so their overlap cannot be taken out; leave one out`,
    )
  }
  const data = new Float64Array(k * k)
  for (let j = 0; j < k; j++) {
    for (let a = 0; a < k; a++) {
      for (let b = 0; b < k; b++) {
        data[a * k + b]! += (left.data[j * k + a]! * left.data[j * k + b]!) / values[j]!
      }
    }
  }
  return { data, rows: k, cols: k }
}

function timesMatrix(values: readonly number[], matrix: Matrix64): number[] {
  return values.map((_, r) => dot(values, row(matrix, r)))
}

function cosines(basis: Matrix64): number[][] {
  const { data, rows: n } = gram(basis)
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, j) => data[i * n + j]! / Math.sqrt(data[i * n + i]! * data[j * n + j]!)),
  )
}
