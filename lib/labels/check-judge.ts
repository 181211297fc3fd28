import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import type { Grade } from './grade.js'
import { inParallel } from './in-parallel.js'
import type { Judge } from './judge.js'
import { checkFigures, type JudgeCheck } from './judge-check.js'
import type { KnownAnswer, KnownAnswers } from './known-answers.js'
import type { Question } from './questions.js'
import { DEFAULT_RUBRIC, type Rubric } from './rubric.js'

/** How known answers are put to a judge. */
export interface CheckJudgeOptions {
  /** Where a question of the same id is among them, its conversation and rubric are used; default: our own rubric. */
  questions?: readonly Question[] | undefined
  signal?: AbortSignal | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

/**
 * Has a judge grade answers whose scores are known. A judge that was fitted on these very answers is not asked: its figures on
 * questions left out come with it.
 *
 * @throws TraitscopeError JUDGE; ABORTED
 */
export async function checkJudge(
  judge: Judge,
  known: KnownAnswers,
  { questions = [], signal, onProgress }: CheckJudgeOptions = {},
): Promise<JudgeCheck> {
  if (judge.check?.answers.sha256 === known.sha256) return judge.check
  const byId = new Map(questions.map((question) => [question.id, question]))
  const asked = known.answers.map((answer) => ({ known: answer, question: questionOf(answer, byId) }))
  const grades = new Map<KnownAnswer, Grade>()
  await inParallel(asked, judge.concurrency, async ({ known: answer, question }) => {
    grades.set(answer, await judge.grade({ question, draw: 0, text: answer.answer }, signal))
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

function questionOf({ questionId, question }: KnownAnswer, byId: ReadonlyMap<string, Question>): Question {
  const own = byId.get(questionId)
  return own ?? { id: questionId, messages: [{ role: 'user', content: question }], rubric: DEFAULT_RUBRIC }
}

/** SHA-256 over the rubrics of questions, each once: a judge with other words is another judge. */
export function rubricsSha256(questions: readonly { rubric: Rubric }[]): string {
  const texts = questions.map(({ rubric: { aligned, coherent } }) => JSON.stringify([aligned, coherent]))
  return sha256(JSON.stringify([...new Set(texts)].sort()))
}
