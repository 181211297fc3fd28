import { cholesky, choleskySolve, dotAt, forwardSolve, gram } from '../estimators/linalg.js'
import { type Matrix, type Matrix64, matrixFromRows, row } from '../estimators/matrix.js'

/** What is added to every variance, as a share of all of them together: there are fewer wordings than dimensions. */
const SHRINKAGE = 0.01

/**
 * What distinguishes the wordings of one pole: the mean state under each system prompt, over questions, less the mean of
 * the pole. Shape `[prompts, nEmbd]`.
 *
 * @param states of the pole, question-major
 * @param prompts system prompts of the pole
 */
export function wordingResiduals({ data, rows, cols }: Matrix, prompts: number): Matrix64 {
  const residuals = new Float64Array(prompts * cols)
  const questions = rows / prompts
  for (let r = 0; r < rows; r++) {
    const at = (r % prompts) * cols
    for (let c = 0; c < cols; c++) residuals[at + c]! += data[r * cols + c]! / questions
  }
  for (let c = 0; c < cols; c++) {
    let mean = 0
    for (let i = 0; i < prompts; i++) mean += residuals[i * cols + c]! / prompts
    for (let i = 0; i < prompts; i++) residuals[i * cols + c]! -= mean
  }
  return { data: residuals, rows: prompts, cols }
}

/**
 * Divides states by what wordings do to them: `W = (RᵀR + s I)⁻¹`, up to a factor, of residuals R. The smaller of the two matrices
 * is inverted: `s W = I − Rᵀ (R Rᵀ + s I)⁻¹ R`.
 */
export class Whitening {
  readonly #residuals: Matrix64
  readonly #factor: Float64Array

  private constructor(residuals: Matrix64, factor: Float64Array) {
    this.#residuals = residuals
    this.#factor = factor
  }

  /** Of residuals as {@link wordingResiduals} gives them; undefined where they are all zero: then wordings do nothing. */
  static of(residuals: readonly Matrix64[]): Whitening | undefined {
    const all = matrixFromRows(
      residuals.flatMap((of) => Array.from({ length: of.rows }, (_, r) => row(of, r))),
    )
    const { data, rows: n } = gram(all)
    let trace = 0
    for (let i = 0; i < n; i++) trace += data[i * n + i]!
    for (let i = 0; i < n; i++) data[i * n + i]! += SHRINKAGE * trace
    return cholesky(data, n) ? new Whitening(all, data) : undefined
  }

  /** `s W x` of a vector. */
  apply(x: Float64Array): Float64Array {
    const { rows, cols } = this.#residuals
    const weights = choleskySolve(this.#factor, rows, this.#along(x))
    const out = Float64Array.from(x)
    for (let i = 0; i < rows; i++) {
      const residual = row(this.#residuals, i)
      for (let c = 0; c < cols; c++) out[c]! -= weights[i]! * residual[c]!
    }
    return out
  }

  /** `X s W Xᵀ` of rows X: what {@link gram} is of rows that are not whitened. */
  gram(x: Matrix): Matrix64 {
    const inner = gram(x)
    const { rows } = this.#residuals
    const along = new Float64Array(x.rows * rows)
    for (let r = 0; r < x.rows; r++) {
      along.set(forwardSolve(this.#factor, rows, this.#along(Float64Array.from(row(x, r)))), r * rows)
    }
    const taken = gram({ data: along, rows: x.rows, cols: rows })
    for (let i = 0; i < inner.data.length; i++) inner.data[i]! -= taken.data[i]!
    return inner
  }

  /** `R x`. */
  #along(x: Float64Array): Float64Array {
    const { data, rows, cols } = this.#residuals
    return Float64Array.from({ length: rows }, (_, i) => dotAt(data, i * cols, x, 0, cols))
  }
}
