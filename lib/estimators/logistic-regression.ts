import { takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { dot, gram } from './linalg.js'
import { assertColumns, assertMatrix, type Matrix, type Matrix64, row } from './matrix.js'
import { sigmoid, solveByFeatures, solveByGram } from './newton-logistic.js'
import { notFitted, stateOf } from './state.js'

/** What fitting found. */
export interface LogisticState {
  weights: number[]
  intercept: number
}

/** Plain state of a {@link LogisticRegression}. */
export interface LogisticJson {
  estimator: 'logistic-regression'
  c: number
  fitted: LogisticState | null
}

/**
 * Binary L2 logistic regression with the objective of scikit-learn's `LogisticRegression(C)`: the intercept
 * is not penalised and features are not scaled. Solved to the rounding floor, so there is no tolerance and no
 * seed.
 */
export class LogisticRegression {
  /** Inverse strength of the penalty, > 0. */
  readonly c: number
  #fitted: LogisticState | undefined

  constructor(options: { c?: number } = {}) {
    const { c = 1 } = takeOptions('LogisticRegression', options, { c: 'number' })
    if (!(c > 0 && Number.isFinite(c)))
      throw new TraitscopeError('USAGE', `C must be a positive number, got ${c}`)
    this.c = c
  }

  /**
   * @param x shape `[n, p]`
   * @param labels length n, 0 or 1, both present
   * @throws `SHAPE` on non-finite input, other labels, or a single class (its optimum lies at infinity)
   */
  fit(x: Matrix, labels: ArrayLike<number>): this {
    this.#fitted = undefined
    assertMatrix(x, 'the input of a logistic regression', 2)
    assertBinaryLabels(labels, x.rows)
    const data = x.data instanceof Float64Array ? x.data : new Float64Array(x.data)
    const rows: Matrix64 = { data, rows: x.rows, cols: x.cols }
    if (x.rows >= x.cols) {
      const { weights, intercept } = solveByFeatures(rows, labels, this.c)
      this.#fitted = { weights: [...weights], intercept }
      return this
    }
    const { alpha, intercept } = solveByGram(gram(rows), labels, this.c)
    const weights = new Float64Array(x.cols)
    for (let i = 0, at = 0; i < x.rows; i++) {
      for (let j = 0; j < x.cols; j++, at++) weights[j]! += alpha[i]! * data[at]!
    }
    this.#fitted = { weights: [...weights], intercept }
    return this
  }

  /** Weight of every feature, length p. */
  get weights(): readonly number[] {
    return this.#state().weights
  }
  get intercept(): number {
    return this.#state().intercept
  }

  /** Log odds of class 1 per row. */
  decision(x: Matrix): Float64Array {
    const { weights, intercept } = this.#state()
    assertColumns(x, 'a logistic regression', weights.length)
    return Float64Array.from({ length: x.rows }, (_, i) => dot(row(x, i), weights) + intercept)
  }

  /** Probability of class 1 per row, in [0, 1]. */
  predictProbability(x: Matrix): Float64Array {
    return this.decision(x).map(sigmoid)
  }

  /** Class per row, 1 where the log odds are above 0. */
  predict(x: Matrix): Uint8Array {
    return Uint8Array.from(this.decision(x), (score) => (score > 0 ? 1 : 0))
  }

  toJSON(): LogisticJson {
    return { estimator: 'logistic-regression', c: this.c, fitted: structuredClone(this.#fitted ?? null) }
  }

  /** Restores {@link LogisticRegression.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): LogisticRegression {
    const { parameters, fitted } = stateOf<LogisticJson, LogisticState>(json, 'logistic-regression', {
      weights: 'numbers',
      intercept: 'number',
    })
    const regression = new LogisticRegression({ c: parameters.c })
    regression.#fitted = structuredClone(fitted)
    return regression
  }

  #state(): LogisticState {
    return this.#fitted ?? notFitted('LogisticRegression')
  }
}

/** Throws `SHAPE` unless there are n labels, all 0 or 1, with both classes present. */
export function assertBinaryLabels(labels: ArrayLike<number>, n: number): void {
  let ones = 0
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] !== 0 && labels[i] !== 1) {
      throw new TraitscopeError('SHAPE', `labels must be 0 or 1, but label ${i} is ${labels[i]}`)
    }
    ones += labels[i]!
  }
  if (labels.length !== n) throw new TraitscopeError('SHAPE', `expected ${n} labels, got ${labels.length}`)
  if (ones === 0 || ones === n) {
    throw new TraitscopeError(
      'SHAPE',
      `labels must hold both classes, but all ${n} are ${ones === 0 ? 0 : 1}`,
    )
  }
}
