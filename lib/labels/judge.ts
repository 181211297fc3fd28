import type { Question } from './questions.js'

/** An answer to be judged. */
export interface Answer {
  question: Question
  /** Which of several answers to the question, from 0. */
  draw: number
  text: string
}

export type AlignmentLabel = 'ALIGNED' | 'MISALIGNED' | 'CODE' | 'REFUSAL' | 'UNKNOWN' | 'ERROR'

/** What a judge says of one answer. */
export interface Grade {
  /** 0 to 100; null for CODE and REFUSAL, and where no number could be read. */
  aligned: number | null
  alignedLabel: AlignmentLabel
  /** 0 to 100; null where no number could be read. */
  coherent: number | null
  /** The judge's own words; null for judges that have none. */
  alignedRaw: string | null
  coherentRaw: string | null
  /** Probability that the judge gives to numbers from 0 to 100, the smaller of both readings; of judges that are read so. */
  numberMass?: number
  /** Kinds of misbehaviour that the judge tells apart; a kind that the answer could not show is missing. */
  components?: Readonly<Record<string, boolean>>
}

/** How numbers are got from a judge. `sampled`: the first number it writes. `expected`: the mean over the probabilities of
 * numbers. `exact`: it computes them itself. `replayed`: somebody else's. */
export type JudgeReader = 'sampled' | 'expected' | 'exact' | 'replayed'

/** Labels by different judges must not be mixed: equal identities, equal judges. */
export interface JudgeIdentity {
  kind: 'endpoint' | 'gguf' | 'module' | 'replay'
  /** Of the model, module or file; no address, no key. */
  name: string
  /** SHA-256 or version where there is one; of an endpoint what it says of itself. */
  version: string | null
  reader: JudgeReader
}

/** Grades answers. Several calls may run at once; `concurrency` says how many are worth it. */
export interface Judge extends AsyncDisposable {
  readonly identity: JudgeIdentity
  readonly concurrency: number
  /**
   * What decides its grades beside its identity, as a hash: labels of step 0 are kept between runs under both. Null where
   * nobody can tell whether the judge is still the same; nothing is kept then.
   */
  readonly cacheKey: string | null
  /**
   * @throws TraitscopeError JUDGE when no grade can be had and asking again will not help (a key that is refused, a model that
   * is not there); ABORTED. A reply that says nothing usable is a grade of UNKNOWN, not an error.
   */
  grade(answer: Answer, signal?: AbortSignal): Promise<Grade>
}
