import { dot } from '../estimators/linalg.js'
import { LogisticRegression } from '../estimators/logistic-regression.js'
import { matrixFromRows } from '../estimators/matrix.js'
import { Pca } from '../estimators/pca.js'
import { Standardizer } from '../estimators/standardizer.js'
import { isJsonObject } from '../formats/json/json.js'
import { isFiniteNumber, JsonFields } from '../formats/json/json-fields.js'

/** A checkpoint of a calibration or anchor run. */
export interface StepRow {
  /** Drifts at the detector's layers, side by side. */
  features: readonly number[]
  step: number
  dangerous: boolean
}

/**
 * Whether a checkpoint of a long run is dangerous (method section 7.7). In a long run every drift grows, a
 * benign one too, and a detector that was calibrated on short runs takes growth for danger. So it is the drift
 * per step that counts: logistic regression on `[a, step, a / step]`, with `a = 100 |x · PC1|` and PC1 the
 * first axis of the final drifts of the calibration runs, fitted on these and on at least one long benign run,
 * the anchor.
 */
export class StepAlarm {
  private constructor(
    private readonly axis: readonly number[],
    private readonly standardizer: Standardizer,
    private readonly logistic: LogisticRegression,
  ) {}

  /**
   * @param rows of calibration and anchor runs
   * @param finals features of the last checkpoint of every calibration run
   * @throws TraitscopeError SHAPE when all rows are of one class
   */
  static fit(rows: readonly StepRow[], finals: readonly (readonly number[])[]): StepAlarm {
    const axis = new Pca({ nComponents: 1 }).fit(matrixFromRows(finals)).components[0]!
    const x = matrixFromRows(rows.map(({ features, step }) => inputs(axis, features, step)))
    const standardizer = new Standardizer().fit(x)
    const logistic = new LogisticRegression().fit(
      standardizer.transform(x),
      rows.map(({ dangerous }) => Number(dangerous)),
    )
    return new StepAlarm(axis, standardizer, logistic)
  }

  /** Probability, in [0, 1], that the checkpoint is dangerous; above 0.5 it alarms. */
  probability(features: readonly number[], step: number): number {
    const x = this.standardizer.transform(matrixFromRows([inputs(this.axis, features, step)]))
    return this.logistic.predictProbability(x)[0]!
  }

  toJSON(): Record<string, unknown> {
    return {
      axis: [...this.axis],
      standardizer: this.standardizer.toJSON(),
      logistic: this.logistic.toJSON(),
    }
  }

  /** Restores {@link StepAlarm.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown, where: string): StepAlarm {
    const at = new JsonFields(isJsonObject(json) ? json : {}, where, 'stepAlarm.')
    return new StepAlarm(
      at.list('axis', isFiniteNumber, 'numbers'),
      Standardizer.fromJSON(at.json.standardizer),
      LogisticRegression.fromJSON(at.json.logistic),
    )
  }
}

function inputs(axis: readonly number[], features: readonly number[], step: number): number[] {
  const along = 100 * Math.abs(dot(features, axis))
  return [along, step, along / step]
}
