import { type Matrix64, matrixFromRows, row } from '../estimators/matrix.js'
import { Ridge } from '../estimators/ridge.js'
import { Standardizer } from '../estimators/standardizer.js'
import { isJsonObject } from '../formats/json/json.js'
import type { EmCounts } from '../labels/grades.js'
import { stabilized } from './label-noise.js'

/** From this predicted rate on the far range is listened to... */
export const FAR_RANGE_BEGINS = 0.1
/** ...and from this one on it alone. */
const ALONE = 0.25
/** Fewer dangerous checkpoints than this say nothing about how high a rate is. */
const FEWEST = 20
/** As for the saturating ridge. */
const RIDGE_ALPHA = 10

/**
 * How high a rate is that is dangerous in any case: a ridge on the dangerous checkpoints alone, on the scale of `stabilized`. A
 * target that saturates tells 60 % from 80 % as little as a forest does, and neither is asked to.
 */
export class FarRange {
  private constructor(
    private readonly standardizer: Standardizer,
    private readonly ridge: Ridge,
  ) {}

  /** Undefined where too few rates are above the cut. */
  static fit(
    x: Matrix64,
    labels: readonly EmCounts[],
    answers: readonly number[],
    cut: number,
  ): FarRange | undefined {
    const at = labels.flatMap(({ rate }, i) => (rate > cut ? [i] : []))
    if (at.length < FEWEST) return undefined
    const dangerous = matrixFromRows(at.map((i) => row(x, i)))
    const standardizer = new Standardizer().fit(dangerous)
    const mean = at.reduce((sum, i) => sum + answers[i]!, 0) / at.length
    const ridge = new Ridge({ alpha: RIDGE_ALPHA }).fit(
      standardizer.transform(dangerous),
      at.map((i) => stabilized(labels[i]!.rate)),
      at.map((i) => answers[i]! / mean),
    )
    return new FarRange(standardizer, ridge)
  }

  /** On the scale of `stabilized`. */
  predict(x: Matrix64): Float64Array {
    return this.ridge.predict(this.standardizer.transform(x))
  }

  toJSON(): Record<string, unknown> {
    return { standardizer: this.standardizer.toJSON(), ridge: this.ridge.toJSON() }
  }

  static fromJSON(json: unknown): FarRange | undefined {
    if (!isJsonObject(json)) return undefined
    return new FarRange(Standardizer.fromJSON(json.standardizer), Ridge.fromJSON(json.ridge))
  }
}

/** Near the cut a prediction stays as it is; far above it the far range takes over. All on the scale of `stabilized`. */
export function withFarRange(near: number, far: number | undefined): number {
  if (far === undefined) return near
  const [from, to] = [stabilized(FAR_RANGE_BEGINS), stabilized(ALONE)]
  const share = Math.min(1, Math.max(0, (near - from) / (to - from)))
  // Whatever it says, it does not call back what lies above its beginning.
  return share === 0 ? near : Math.max(from, (1 - share) * near + share * far)
}
