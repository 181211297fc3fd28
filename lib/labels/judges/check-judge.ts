import { checkMade, type OptionKinds, takeOptions } from '../../arguments.js'
import { TraitscopeError } from '../../errors.js'
import { AppendLog } from '../../formats/files/append-log.js'
import { sha256 } from '../../formats/files/hash.js'
import { isJsonObject } from '../../formats/json/json.js'
import { isText } from '../../formats/json/json-fields.js'
import type { Grade } from '../answers/grade.js'
import type { KnownAnswer, KnownAnswers } from '../answers/known-answers.js'
import { isGradeJson } from '../answers/label-log.js'
import type { Question } from '../answers/questions.js'
import { DEFAULT_RUBRIC, type Rubric } from '../answers/rubric.js'
import { inParallel } from './in-parallel.js'
import { askJudge, goOnWith, JUDGE, type Judge } from './judge.js'
import { checkFigures, type JudgeCheck } from './judge-check.js'
import { beforeReplies } from './judge-identity.js'

/** How known answers are put to a judge. */
export interface CheckJudgeOptions {
  /** Where a question of the same id is among them, its conversation and rubric are used; default: our own rubric. */
  questions?: readonly Question[] | undefined
  /**
   * A file to keep grades in as they come, so that a check that was ended goes on where it was. It stays: delete it when the figures are
   * safe. Not used for a judge of which nobody can tell whether it is still the same (`cacheKey` null).
   */
  keep?: string | undefined
  signal?: AbortSignal | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

const OPTIONS: OptionKinds<CheckJudgeOptions> = {
  questions: 'list',
  keep: 'path',
  signal: 'signal',
  onProgress: 'function',
}

/**
 * Has a judge grade answers whose scores are known. A judge that was fitted on these very answers is not asked: its figures on
 * questions left out come with it.
 *
 * @throws TraitscopeError JUDGE; ABORTED; FILE_ACCESS and FILE_INVALID of `keep`
 */
export async function checkJudge(
  judge: Judge,
  known: KnownAnswers,
  options: CheckJudgeOptions = {},
): Promise<JudgeCheck> {
  checkMade(judge, JUDGE)
  const { questions = [], keep, signal, onProgress } = takeOptions('checkJudge', options, OPTIONS)
  if (judge.check?.answers.sha256 === known.sha256) return judge.check
  const byId = new Map(questions.map((question) => [question.id, question]))
  const asked = known.answers.map((answer) => ({ known: answer, question: questionOf(answer, byId) }))
  const grades = new Map<KnownAnswer, Grade>()
  await using log =
    keep === undefined || judge.cacheKey === null ? undefined : await AppendLog.open(keep, KEPT)
  const kept = asked.map((one) => log?.records.get(callOf(judge, one)))
  goOnWith(
    judge,
    kept.filter((one) => one !== undefined),
  )
  for (const [i, one] of kept.entries()) if (one) grades.set(asked[i]!.known, one.grade)
  const open = asked.filter(({ known: answer }) => !grades.has(answer))
  await inParallel(open, judge.concurrency, async (one) => {
    const { known: answer, question } = one
    const grade = await askJudge(judge, { question, draw: 0, text: answer.answer }, signal)
    // What no try could grade is asked again by the next check.
    if (grade.alignedLabel !== 'ERROR') {
      const { servedBy } = judge
      await log?.append({
        of: callOf(judge, one),
        ...(servedBy !== undefined && { served_by: servedBy }),
        grade,
      })
    }
    grades.set(answer, grade)
    onProgress?.(grades.size / asked.length)
  })
  if ([...grades.values()].every(({ alignedLabel }) => alignedLabel === 'ERROR')) {
    const [first] = grades.values()
    throw new TraitscopeError(
      'JUDGE',
      `the judge ${judge.identity.name} graded no answer: ${first?.alignedRaw}`,
    )
  }
  return checkFigures(
    asked.map(({ known: answer }) => ({ known: answer, grade: grades.get(answer)! })),
    known,
    {
      judge: judge.identity,
      rubricsSha256: rubricsSha256(asked.map(({ question }) => question)),
      leftOut: null,
    },
  )
}

/** A file beside `out` for `keep`, another one for every judge: what one of them has done is nothing that another's check removes. */
export function keptBeside(out: string, { identity, cacheKey }: Judge): string {
  const judge = sha256(JSON.stringify([beforeReplies(identity), cacheKey]))
  return `${out}.${judge.slice(0, 8)}.judgements.jsonl`
}

/** A grade and what it is of. */
interface KeptGrade {
  of: string
  grade: Grade
  served_by?: string
}

const KEPT = {
  key: ({ of }: KeptGrade) => of,
  parse: (value: object, where: string): KeptGrade => {
    if (isJsonObject(value) && isText(value.of) && isGradeJson({ answer_sha256: value.of, ...value }))
      return value as unknown as KeptGrade
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected a grade of a check in ${where}; it was written by something else, name another output`,
    )
  },
}

/** Hash of who is asked, what, and about which answer. */
function callOf(judge: Judge, { known, question }: { known: KnownAnswer; question: Question }): string {
  const { messages, rubric } = question
  return sha256(
    JSON.stringify([beforeReplies(judge.identity), judge.cacheKey, messages, rubric, known.answer]),
  )
}

function questionOf({ questionId, question }: KnownAnswer, byId: ReadonlyMap<string, Question>): Question {
  const own = byId.get(questionId)
  return own ?? { id: questionId, messages: [{ role: 'user', content: question }], rubric: DEFAULT_RUBRIC }
}

/** SHA-256 over the rubrics of questions, each once: a judge with other words is another judge. */
export function rubricsSha256(questions: readonly { rubric: Rubric }[]): string {
  const texts = questions.map(({ rubric: { aligned, coherent } }) => JSON.stringify([aligned, coherent]))
  return sha256(JSON.stringify([...new Set(texts)].sort()))
}
