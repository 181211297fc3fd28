import { inspect } from 'node:util'
import { Made } from '../../arguments.js'
import { TraitscopeError } from '../../errors.js'
import { type Grade, isGrade } from '../answers/grade.js'
import type { Question } from '../answers/questions.js'
import type { JudgeCheck } from './judge-check.js'
import type { JudgeIdentity } from './judge-identity.js'

/** An answer to be judged. */
export interface Answer {
  question: Question
  /** Which of several answers to the question, from 0. */
  draw: number
  text: string
}

/** What a judge may have seen of a run before. */
export interface JudgedRun {
  /** Identity of the base. */
  fingerprint: string
  /** What it is fine-tuned on, where that is known. */
  domain: string | undefined
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
   * What an endpoint says that it is, undefined before it has replied. Set to what it was before by work that goes on: a reply of
   * another one is an error then.
   */
  servedBy?: string | undefined
  /** How well it reads answers with known scores, where it knows. */
  readonly check?: JudgeCheck
  /** What labels of such a run have to say of this judge, in sentences. */
  remarks?(run: JudgedRun): string[]
  /**
   * @throws TraitscopeError JUDGE when no grade can be had and asking again will not help (a key that is refused, a model that
   * is not there); ABORTED. A reply that says nothing usable is a grade of UNKNOWN, not an error.
   */
  grade(answer: Answer, signal?: AbortSignal): Promise<Grade>
}

export const JUDGE = new Made<Judge>('a judge, such as an EndpointJudge', 'grade')

/**
 * Grades that are there are by one judge, and so must those be that come.
 *
 * @param known what endpoints said that they were
 * @throws TraitscopeError JUDGE when there were two
 */
export function goOnWith(judge: Judge, known: Iterable<{ served_by?: string }>): void {
  if (judge.identity.kind !== 'endpoint') return
  for (const { served_by: servedBy } of known) {
    if (servedBy === undefined) continue
    judge.servedBy ??= servedBy
    if (judge.servedBy === servedBy) continue
    throw new TraitscopeError(
      'JUDGE',
      `expected grades of one judge, found grades of ${servedBy} beside ${judge.servedBy} behind ${judge.identity.name}; name another folder, or label with --no-cache`,
    )
  }
}

/**
 * What a judge says of an answer. A judge may be anybody's code, and labels are made of what it returns.
 *
 * @throws TraitscopeError JUDGE for anything but a grade; as `Judge.grade`
 */
export async function askJudge(judge: Judge, answer: Answer, signal?: AbortSignal): Promise<Grade> {
  const said: unknown = await judge.grade(answer, signal)
  if (isGrade(said)) return said
  throw new TraitscopeError(
    'JUDGE',
    `expected the judge ${judge.identity.name} to return a grade (aligned and coherent 0 to 100 or null, an alignedLabel), found ${inspect(said, { breakLength: Number.POSITIVE_INFINITY, depth: 1, maxStringLength: 80 })} for ${answer.question.id}`,
  )
}
