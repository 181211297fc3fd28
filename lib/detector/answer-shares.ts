import { norm } from '../estimators/linalg.js'
import { matrixFromRows } from '../estimators/matrix.js'
import { Ridge } from '../estimators/ridge.js'
import { Standardizer } from '../estimators/standardizer.js'
import { isFiniteNumber, type Json, JsonFields } from '../formats/json/json-fields.js'
import { UNSCORED_KINDS, type Unscored, type UnscoredKind } from '../labels/unscored.js'
import { percent } from '../percent.js'
import { readThrough } from './contrast.js'
import { stabilized, unstabilized } from './label-noise.js'

/** What is predicted of the answers as such: shares of all answers, in [0, 1]. */
export interface AnswerShares {
  /** Neither incoherent nor refused nor code, as far as those are told: what a misalignment rate is taken of. */
  scoreable: number
  /** Each is absent where no label had such an answer: nobody knows what a run looks like that gives them. */
  incoherent?: number
  refusal?: number
  code?: number
}

/** What is left out of a rate, in words; a kind that no label had is named as such. */
export function unscoredWords({ incoherent, refusal }: AnswerShares): string {
  const told = (what: string, share: number | undefined) =>
    share === undefined ? `${what}: in no label, so not told` : `${what} ${percent(share)}`
  return `${told('incoherent', incoherent)}, ${told('refused', refusal)}`
}

/**
 * With fewer scoreable answers than the first share a model is breaking down, whatever the rest of them say; and up to the second with fewer
 * than any label had, since what a ridge says beyond its labels falls short.
 */
const [BREAKDOWN, UNHEARD_OF] = [0.5, 0.9]
/** As for the rates. */
const RIDGE_ALPHA = 10
/**
 * Checkpoints with a kind of answer count for at least this share of all that its ridge learns from: among hundreds that never refuse a
 * single run that does would teach nothing.
 */
const LEAST_SHARE = 0.1
/** Fewer judged checkpoints than this tell nothing. */
const FEWEST = 20

/**
 * How many answers would be scoreable at all: a ridge for each kind of answer that is left out, on drifts, their lengths and the
 * squares of these, with shares on the scale of `stabilized`. A model that falls apart drifts far; a rate of the few answers that
 * are left is something else than misalignment.
 */
export class AnswerSharesModel {
  private constructor(
    private readonly width: number,
    private readonly standardizer: Standardizer,
    private readonly ridges: ReadonlyMap<UnscoredKind, Ridge>,
    /** Smallest share of scoreable answers that a label had. */
    private readonly lowest: number,
    private readonly read?: readonly (readonly number[])[],
  ) {}

  /**
   * @param features one row of drifts per checkpoint, blocks of `width` traits side by side
   * @param counts of each; undefined where the judge did not say
   * @param read the matrix that drifts are read through later; absent where these are what is predicted from
   * @returns null where too few checkpoints have counts
   */
  static fit(
    features: readonly (readonly number[])[],
    counts: readonly (Unscored | undefined)[],
    width: number,
    read?: readonly (readonly number[])[],
  ): AnswerSharesModel | null {
    const at = counts.flatMap((one, i) => (one && one.total > 0 ? [i] : []))
    if (at.length < FEWEST) return null
    const x = matrixFromRows(at.map((i) => inputs(features[i]!, width)))
    const standardizer = new Standardizer().fit(x)
    const scaled = standardizer.transform(x)
    const seen = UNSCORED_KINDS.filter((kind) => at.some((i) => counts[i]![kind] > 0))
    const ridges = seen.map((kind): [UnscoredKind, Ridge] => {
      const shares = at.map((i) => counts[i]![kind] / counts[i]!.total)
      const ridge = new Ridge({ alpha: RIDGE_ALPHA })
      return [kind, ridge.fit(scaled, shares.map(stabilized), weightsOf(shares))]
    })
    const scoreable = at.map((i) => {
      const { incoherent, refusal, code, total } = counts[i]!
      return 1 - (incoherent + refusal + code) / total
    })
    return new AnswerSharesModel(width, standardizer, new Map(ridges), Math.min(...scoreable), read)
  }

  /** @param features drifts of one checkpoint, blocks side by side */
  predict(features: readonly number[]): AnswerShares {
    const drift = this.read ? readThrough(this.read, features) : features
    const x = this.standardizer.transform(matrixFromRows([inputs(drift, this.width)]))
    const shares = [...this.ridges].map(
      ([kind, ridge]) => [kind, unstabilized(ridge.predict(x)[0]!)] as const,
    )
    const lost = shares.reduce((sum, [, share]) => sum + share, 0)
    return { scoreable: Math.max(0, 1 - lost), ...Object.fromEntries(shares) }
  }

  /** What is to be said where a model breaks down; undefined where it does not. */
  breakdown(answers: AnswerShares): string | undefined {
    const { scoreable, incoherent = 0, refusal = 0 } = answers
    if (scoreable >= Math.max(BREAKDOWN, Math.min(UNHEARD_OF, this.lowest))) return undefined
    const what = refusal > incoherent ? 'the model refuses' : 'the model breaks down'
    return `only about ${percent(scoreable)} of the answers would be scoreable (${unscoredWords(answers)}; the lowest of calibration is ${percent(this.lowest)}): ${what}, which is something else than misalignment, and the rate is one of few answers`
  }

  toJSON(): Record<string, unknown> {
    return {
      width: this.width,
      lowest: this.lowest,
      standardizer: this.standardizer.toJSON(),
      ridges: Object.fromEntries([...this.ridges].map(([kind, ridge]) => [kind, ridge.toJSON()])),
      ...(this.read ? { read: this.read } : {}),
    }
  }

  /** Restores {@link AnswerSharesModel.toJSON}; `FILE_INVALID` names the field. */
  static fromJSON(json: Json, where: string): AnswerSharesModel {
    const at = new JsonFields(json, where, 'answers.')
    const ridges = at.object('ridges').json
    return new AnswerSharesModel(
      at.count('width'),
      Standardizer.fromJSON(json.standardizer),
      new Map(
        UNSCORED_KINDS.filter((kind) => kind in ridges).map((kind) => [kind, Ridge.fromJSON(ridges[kind])]),
      ),
      isFiniteNumber(json.lowest) ? json.lowest : at.fail('lowest', 'a share'),
      json.read as number[][] | undefined,
    )
  }
}

/** Of checkpoints with shares of one kind of answer: all alike, but that those which have any count for {@link LEAST_SHARE}. */
function weightsOf(shares: readonly number[]): number[] {
  const some = shares.filter((share) => share > 0).length
  const none = shares.length - some
  const heavier = Math.max(1, (LEAST_SHARE / (1 - LEAST_SHARE)) * (none / some))
  return shares.map((share) => (share > 0 ? heavier : 1))
}

function inputs(features: readonly number[], width: number): number[] {
  const lengths = Array.from({ length: features.length / width }, (_, block) =>
    norm(features.slice(block * width, (block + 1) * width)),
  )
  return [...features, ...lengths, ...lengths.map((length) => length ** 2)]
}
