import { TraitscopeError } from '../errors.js'
import { Isotonic } from '../estimators/isotonic.js'
import { type Matrix64, matrixFromRows } from '../estimators/matrix.js'
import {
  newRegressor,
  type Regressor,
  type RegressorName,
  regressorFromJSON,
} from '../estimators/regressor.js'
import { Ridge } from '../estimators/ridge.js'
import { Standardizer } from '../estimators/standardizer.js'
import { isJsonObject } from '../formats/json/json.js'
import type { EmCounts } from '../labels/grades.js'
import { effectiveAnswers, stabilized, unstabilized } from './label-noise.js'

/**
 * How drift becomes a rate. `random-forest` and `gradient-boosting` predict the rate as the paper does
 * (method section 7.2). `ridge` is a {@link SaturatingRidge}. `blend` is the mean of `ridge` and `random-forest`. The
 * first is preferred where several do.
 */
export const RATE_MODELS = ['blend', 'ridge', 'random-forest', 'gradient-boosting'] as const
/** Regressors from drift to rate that a calibration chooses from. */
export type RateModelName = (typeof RATE_MODELS)[number]

/** One choice of a calibration: a regressor and its layers. */
export interface RateModelSpec {
  model: RateModelName
  /** 0-based blocks whose drifts are the features, side by side. */
  layers: readonly number[]
}

type Features = readonly (readonly number[])[]
type Member = RegressorMember | SaturatingRidge

/** Plain state of a {@link RateModel}. */
export interface RateModelJson {
  model: RateModelName
  cut: number
  members: unknown[]
}

/**
 * From drift to the emergent-misalignment rate: one or two regressors, whose rates are averaged on the scale
 * of `stabilized`, on which labels are equally precise everywhere.
 */
export class RateModel {
  readonly #members: Member[]

  /** @param cut rate above which a checkpoint is dangerous, in (0, 1) */
  constructor(
    readonly model: RateModelName,
    readonly cut: number,
    members?: Member[],
  ) {
    const names = model === 'blend' ? (['ridge', 'random-forest'] as const) : [model]
    this.#members =
      members ??
      names.map((name) => (name === 'ridge' ? new SaturatingRidge(cut) : new RegressorMember(name)))
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
    return scales[0]!.map((_, i) => unstabilized(scales.reduce((sum, z) => sum + z[i]!, 0) / scales.length))
  }

  toJSON(): RateModelJson {
    return { model: this.model, cut: this.cut, members: this.#members.map((member) => member.toJSON()) }
  }

  /** Restores {@link RateModel.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): RateModel {
    const { model, cut, members } = (isJsonObject(json) ? json : {}) as Partial<RateModelJson>
    const known = RATE_MODELS.find((name) => name === model)
    if (known === undefined || typeof cut !== 'number' || !Array.isArray(members) || members.length === 0) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected the state of a rate model (${RATE_MODELS.join(', ')}), found ${JSON.stringify(model)}`,
      )
    }
    return new RateModel(
      known,
      cut,
      members.map((member: unknown) =>
        isJsonObject(member) && member.estimator === 'saturating-ridge'
          ? SaturatingRidge.fromJSON(member, cut)
          : new RegressorMember(regressorFromJSON(member)),
      ),
    )
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
class SaturatingRidge {
  #standardizer = new Standardizer()
  #ridge = new Ridge({ alpha: RIDGE_ALPHA })
  #map = new Isotonic()

  constructor(private readonly cut: number) {}

  fit(x: Matrix64, labels: readonly EmCounts[]): void {
    const answers = labels.map(effectiveAnswers)
    const mean = answers.reduce((sum, n) => sum + n, 0) / answers.length
    const weights = answers.map((n) => n / mean)
    const scaled = this.#standardizer.fit(x).transform(x)
    const targets = labels.map(({ rate }) => rate / (rate + this.cut))
    const rates = labels.map(({ rate }) => rate)
    this.#map.fit(this.#ridge.fit(scaled, targets, weights).predict(scaled), rates, weights)
  }

  predict(x: Matrix64): Float64Array {
    return this.#map.predict(this.#ridge.predict(this.#standardizer.transform(x)))
  }

  toJSON(): Record<string, unknown> {
    return {
      estimator: 'saturating-ridge',
      standardizer: this.#standardizer.toJSON(),
      ridge: this.#ridge.toJSON(),
      map: this.#map.toJSON(),
    }
  }

  static fromJSON(json: Record<string, unknown>, cut: number): SaturatingRidge {
    const restored = new SaturatingRidge(cut)
    restored.#standardizer = Standardizer.fromJSON(json.standardizer)
    restored.#ridge = Ridge.fromJSON(json.ridge)
    restored.#map = Isotonic.fromJSON(json.map)
    return restored
  }
}
