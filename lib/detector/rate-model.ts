import { TraitscopeError } from '../errors.js'
import { Isotonic } from '../estimators/isotonic.js'
import { type Matrix64, matrixFromRows, row } from '../estimators/matrix.js'
import {
  newRegressor,
  type Regressor,
  type RegressorName,
  regressorFromJSON,
} from '../estimators/regressor.js'
import { Ridge } from '../estimators/ridge.js'
import { Standardizer } from '../estimators/standardizer.js'
import { isJsonObject } from '../formats/json/json.js'
import type { Json } from '../formats/json/json-fields.js'
import type { EmCounts } from '../labels/grades.js'
import { readThrough } from './contrast.js'
import { FarRange, withFarRange } from './far-range.js'
import { effectiveAnswers, stabilized, unstabilized } from './label-noise.js'

/**
 * How drift becomes a rate. `random-forest` and `gradient-boosting` predict the rate as the paper does
 * (method section 7.2). `ridge` is a {@link SaturatingRidge}. `blend` is the mean of `ridge` and `random-forest`. The
 * first is preferred where several do.
 */
export const RATE_MODELS = ['blend', 'ridge', 'random-forest', 'gradient-boosting'] as const
/** Regressors from drift to rate that a calibration chooses from. */
export type RateModelName = (typeof RATE_MODELS)[number]
/**
 * Who a {@link RateModel} learned from: one base alone, by one of {@link RATE_MODELS}; other bases alone (`prior`); or both
 * (`pooled`).
 */
export type RateModelKind = RateModelName | 'prior' | 'pooled'

/** One choice of a calibration: a regressor and its layers. */
export interface RateModelSpec {
  model: RateModelKind
  /** 0-based blocks whose drifts are the features, side by side. */
  layers: readonly number[]
}

type Features = readonly (readonly number[])[]
type Member = RegressorMember | SaturatingRidge | ReadThrough

/** Plain state of a {@link RateModel}. */
export interface RateModelJson {
  model: RateModelKind
  cut: number
  members: unknown[]
  /** How much each member counts; absent where all count alike. */
  weights?: number[]
}

/**
 * From drift to the emergent-misalignment rate: one or two regressors, whose rates are averaged on the scale
 * of `stabilized`, on which labels are equally precise everywhere.
 */
export class RateModel {
  readonly #members: Member[]
  readonly #weights: readonly number[]

  /** @param cut rate above which a checkpoint is dangerous, in (0, 1) */
  constructor(
    readonly model: RateModelKind,
    readonly cut: number,
    members?: readonly Member[],
    weights?: readonly number[],
  ) {
    this.#members = [...(members ?? newMembers(model, cut))]
    this.#weights = weights ?? this.#members.map(() => 1)
  }

  /**
   * A ridge that was fitted on contrast units, alone or beside a model of the base's own.
   *
   * @param read see `contrastReading`
   * @param own a fitted model, and its share in (0, 1) of the rate
   */
  static throughContrast(
    kind: 'prior' | 'pooled',
    ridge: SaturatingRidge,
    read: readonly (readonly number[])[],
    own?: { model: RateModel; share: number },
  ): RateModel {
    const shared = new ReadThrough(read, ridge)
    if (own === undefined) return new RateModel(kind, ridge.cut, [shared])
    const members = own.model.#members
    const weights = [1 - own.share, ...members.map(() => own.share / members.length)]
    return new RateModel(kind, ridge.cut, [shared, ...members], weights)
  }

  /**
   * @param features one row of drifts per checkpoint
   * @param labels one per checkpoint
   */
  fit(features: Features, labels: readonly EmCounts[]): this {
    const x = matrixFromRows(features)
    for (const member of this.#members) member.fit(x, labels)
    return this
  }

  /** Predicted rates in [0, 1]. */
  predict(features: Features): Float64Array {
    const x = matrixFromRows(features)
    const scales = this.#members.map((member) => member.predict(x).map(stabilized))
    const total = this.#weights.reduce((sum, weight) => sum + weight, 0)
    const far = this.#far(x)
    return scales[0]!.map((_, i) => {
      const near = scales.reduce((sum, z, m) => sum + this.#weights[m]! * z[i]!, 0) / total
      return unstabilized(withFarRange(near, far?.[i]))
    })
  }

  /** The mean of those members that know the far range, on the scale of `stabilized`. */
  #far(x: Matrix64): Float64Array | undefined {
    const known = this.#members.flatMap((member, m) => {
      const z = member instanceof RegressorMember ? undefined : member.far(x)
      return z ? [{ z, weight: this.#weights[m]! }] : []
    })
    const total = known.reduce((sum, { weight }) => sum + weight, 0)
    return known[0]?.z.map((_, i) => known.reduce((sum, { z, weight }) => sum + weight * z[i]!, 0) / total)
  }

  toJSON(): RateModelJson {
    const alike = this.#weights.every((weight) => weight === 1)
    return {
      model: this.model,
      cut: this.cut,
      members: this.#members.map((member) => member.toJSON()),
      ...(alike ? {} : { weights: [...this.#weights] }),
    }
  }

  /** Restores {@link RateModel.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): RateModel {
    const { model, cut, members, weights } = (isJsonObject(json) ? json : {}) as Partial<RateModelJson>
    const known = [...RATE_MODELS, 'prior' as const, 'pooled' as const].find((name) => name === model)
    if (known === undefined || typeof cut !== 'number' || !Array.isArray(members) || members.length === 0) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected the state of a rate model (${RATE_MODELS.join(', ')}), found ${JSON.stringify(model)}`,
      )
    }
    return new RateModel(
      known,
      cut,
      members.map((member: unknown) => memberFromJSON(member, cut)),
      weights,
    )
  }
}

/** Of a model that learns from one base; the others come with their members. */
function newMembers(model: RateModelKind, cut: number): Member[] {
  if (model === 'prior' || model === 'pooled') return []
  const names = model === 'blend' ? (['ridge', 'random-forest'] as const) : [model]
  return names.map((name) => (name === 'ridge' ? new SaturatingRidge(cut) : new RegressorMember(name)))
}

function memberFromJSON(json: unknown, cut: number): Member {
  if (!isJsonObject(json)) return new RegressorMember(regressorFromJSON(json))
  if (json.estimator === 'saturating-ridge') return SaturatingRidge.fromJSON(json, cut)
  if (json.estimator !== 'read-through') return new RegressorMember(regressorFromJSON(json))
  return new ReadThrough(json.read as number[][], SaturatingRidge.fromJSON(json.inner as Json, cut))
}

/** A fitted ridge that reads the drift through a matrix, see `contrastReading`. */
class ReadThrough {
  constructor(
    private readonly read: readonly (readonly number[])[],
    private readonly inner: SaturatingRidge,
  ) {}

  fit(): never {
    throw new TraitscopeError('INTERNAL', 'a ridge on contrast units is fitted before it is read through')
  }

  predict(x: Matrix64): Float64Array {
    return this.inner.predict(this.#through(x))
  }

  far(x: Matrix64): Float64Array | undefined {
    return this.inner.far(this.#through(x))
  }

  #through(x: Matrix64): Matrix64 {
    return matrixFromRows(Array.from({ length: x.rows }, (_, r) => readThrough(this.read, row(x, r))))
  }

  toJSON(): Record<string, unknown> {
    return { estimator: 'read-through', read: this.read, inner: this.inner.toJSON() }
  }
}

/** A regressor of the method, which predicts the rate itself. */
class RegressorMember {
  readonly #regressor: Regressor

  constructor(regressor: Regressor | RegressorName) {
    this.#regressor = typeof regressor === 'string' ? newRegressor(regressor) : regressor
  }

  fit(x: Matrix64, labels: readonly EmCounts[]): void {
    this.#regressor.fit(
      x,
      labels.map(({ rate }) => rate),
    )
  }

  predict(x: Matrix64): Float64Array {
    return this.#regressor.predict(x)
  }

  toJSON(): unknown {
    return this.#regressor.toJSON()
  }
}

/**
 * Penalty on standardised features. The rate hardly depends on it between 3 and 100; it must only keep the
 * many near-copies of one axis, which traits and layers are, from cancelling each other.
 */
const RIDGE_ALPHA = 10

/**
 * Standardised drift, ridge regression of a target that saturates above the cut, monotone map to the rate.
 *
 * What decides about alarms is the rate near the cut, while most of the variance of the rates lies far above
 * it, where everything is dangerous anyway. `rate / (rate + cut)` is half way at the cut and flat above, so
 * the regression spends its freedom where it matters. Labels count by their answers.
 */
export class SaturatingRidge {
  #standardizer = new Standardizer()
  #ridge: Ridge
  #map = new Isotonic()
  #far: FarRange | undefined

  /** @param alpha penalty on standardised features */
  constructor(
    readonly cut: number,
    alpha = RIDGE_ALPHA,
  ) {
    this.#ridge = new Ridge({ alpha })
  }

  /** @param answers how much every label counts; by default its independent answers */
  fit(x: Matrix64, labels: readonly EmCounts[], answers = labels.map(effectiveAnswers)): void {
    const mean = answers.reduce((sum, n) => sum + n, 0) / answers.length
    const weights = answers.map((n) => n / mean)
    const scaled = this.#standardizer.fit(x).transform(x)
    const targets = labels.map(({ rate }) => rate / (rate + this.cut))
    const rates = labels.map(({ rate }) => rate)
    this.#map.fit(this.#ridge.fit(scaled, targets, weights).predict(scaled), rates, weights)
    this.#far = FarRange.fit(x, labels, answers, this.cut)
  }

  predict(x: Matrix64): Float64Array {
    return this.#map.predict(this.#ridge.predict(this.#standardizer.transform(x)))
  }

  /** What {@link FarRange} says, on the scale of `stabilized`; undefined where there was too little to fit it. */
  far(x: Matrix64): Float64Array | undefined {
    return this.#far?.predict(x)
  }

  toJSON(): Record<string, unknown> {
    return {
      estimator: 'saturating-ridge',
      standardizer: this.#standardizer.toJSON(),
      ridge: this.#ridge.toJSON(),
      map: this.#map.toJSON(),
      ...(this.#far ? { far: this.#far.toJSON() } : {}),
    }
  }

  static fromJSON(json: Record<string, unknown>, cut: number): SaturatingRidge {
    const restored = new SaturatingRidge(cut)
    restored.#standardizer = Standardizer.fromJSON(json.standardizer)
    restored.#ridge = Ridge.fromJSON(json.ridge)
    restored.#map = Isotonic.fromJSON(json.map)
    restored.#far = FarRange.fromJSON(json.far)
    return restored
  }
}
