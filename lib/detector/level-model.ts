import { TraitscopeError } from '../errors.js'
import { Isotonic } from '../estimators/isotonic.js'
import { type Matrix64, matrixFromRows } from '../estimators/matrix.js'
import { newRegressor, type Regressor, regressorFromJSON } from '../estimators/regressor.js'
import { Ridge } from '../estimators/ridge.js'
import { Standardizer } from '../estimators/standardizer.js'
import { isJsonObject } from '../formats/json.js'
import { effectiveAnswers } from './label-noise.js'
import type { Row } from './rows.js'

/**
 * How drift becomes a rate. `ridge`: standardised drift, ridge regression of a target that saturates above
 * the cut, then a monotone map to the rate. `random-forest` and `gradient-boosting`: the method's own
 * (section 8.1), which predict the rate directly.
 */
export const LEVEL_MODELS = ['ridge', 'random-forest', 'gradient-boosting'] as const
export type LevelModelName = (typeof LEVEL_MODELS)[number]

export interface LevelSpec {
  model: LevelModelName
  /** 0-based blocks whose drifts are the features, side by side. */
  layers: readonly number[]
}

/**
 * Penalty on standardised features. The level hardly depends on it between 3 and 100; it must only keep the
 * many near-copies of one axis, which traits and layers are, from cancelling each other.
 */
const RIDGE_ALPHA = 10

/** Plain state of a {@link LevelModel}. */
export interface LevelModelJson {
  model: LevelModelName
  cut: number
  standardizer: unknown
  regressor: unknown
  map: unknown
}

/**
 * From drift to the emergent-misalignment rate.
 *
 * What decides about alarms is the level near the cut, while most of the variance of EM rates lies far above
 * it. The ridge therefore regresses `rate / (rate + cut)`, which is half way at the cut and flat where
 * everything is dangerous anyway, and a monotone map turns its score into a rate.
 */
export class LevelModel {
  #standardizer: Standardizer | undefined
  #regressor: Regressor | undefined
  #map: Isotonic | undefined

  /** @param cut rate above which a checkpoint is dangerous, in (0, 1) */
  constructor(
    readonly model: LevelModelName,
    readonly cut: number,
  ) {}

  /**
   * @param features one row of drifts per checkpoint
   * @param rows their labels; all answers are pooled, and answers count
   */
  fit(features: readonly (readonly number[])[], rows: readonly Pick<Row, 'label'>[]): this {
    const x = matrixFromRows(features)
    const rates = rows.map(({ label }) => label.pooled.rate)
    if (this.model !== 'ridge') {
      this.#regressor = newRegressor(this.model).fit(x, rates)
      return this
    }
    const answers = rows.map(({ label }) => effectiveAnswers(label.pooled))
    const mean = answers.reduce((sum, n) => sum + n, 0) / answers.length
    const weights = answers.map((n) => n / mean)
    const targets = rates.map((rate) => rate / (rate + this.cut))
    this.#standardizer = new Standardizer().fit(x)
    const scaled = this.#standardizer.transform(x)
    this.#regressor = new Ridge({ alpha: RIDGE_ALPHA }).fit(scaled, targets, weights)
    this.#map = new Isotonic().fit(this.#regressor.predict(scaled), rates, weights)
    return this
  }

  /** Predicted rates in [0, 1]. */
  predict(features: readonly (readonly number[])[]): Float64Array {
    if (this.#regressor === undefined) {
      throw new TraitscopeError('NOT_FITTED', 'the level model is not fitted yet; call fit() or fromJSON()')
    }
    const x: Matrix64 = matrixFromRows(features)
    const score = this.#regressor.predict(this.#standardizer?.transform(x) ?? x)
    const rates = this.#map?.predict(score) ?? score
    return rates.map((rate) => Math.min(1, Math.max(0, rate)))
  }

  toJSON(): LevelModelJson {
    return {
      model: this.model,
      cut: this.cut,
      standardizer: this.#standardizer?.toJSON() ?? null,
      regressor: this.#regressor?.toJSON() ?? null,
      map: this.#map?.toJSON() ?? null,
    }
  }

  /** Restores {@link LevelModel.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): LevelModel {
    const { model, cut, standardizer, regressor, map } = (
      isJsonObject(json) ? json : {}
    ) as Partial<LevelModelJson>
    if (!LEVEL_MODELS.some((name) => name === model) || typeof cut !== 'number') {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected the state of a level model (${LEVEL_MODELS.join(', ')}), found ${JSON.stringify(model)}`,
      )
    }
    const restored = new LevelModel(model!, cut)
    restored.#regressor = regressorFromJSON(regressor)
    if (standardizer) restored.#standardizer = Standardizer.fromJSON(standardizer)
    if (map) restored.#map = Isotonic.fromJSON(map)
    return restored
  }
}
