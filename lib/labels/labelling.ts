import { isTraitscopeError, TraitscopeError } from '../errors.js'
import type { AppendLog } from '../formats/files/append-log.js'
import { sha256 } from '../formats/files/hash.js'
import { generateText, shareDone } from '../generation/generate.js'
import type { OnModel } from '../model/checkpoint/strengths.js'
import type { Message } from '../prompts/messages.js'
import { failureWords, isFailure } from './answers/failures.js'
import type { Grade } from './answers/grade.js'
import { answerKey, type JudgementRecord, type ResponseRecord } from './answers/label-log.js'
import type { Question } from './answers/questions.js'
import { inParallel } from './judges/in-parallel.js'
import { askJudge } from './judges/judge.js'
import { type LabelledStep, type LabelRunOptions, MAX_TOKENS } from './label-options.js'

/** Before so many answers are judged, a share of failures says nothing. */
const ENOUGH_TO_STOP = 50

/** What gives the answers. */
export interface Answering extends OnModel {
  /** Identity of the weights. */
  weights: string
}

/** Answers and grades of one step after another, as far as they are not known. */
export class Labelling {
  #graded = 0
  #failed = 0
  #firstFailure: string | undefined

  constructor(
    private readonly options: LabelRunOptions,
    private readonly responses: AppendLog<ResponseRecord>,
    private readonly judgements: AppendLog<JudgementRecord>,
  ) {}

  /**
   * @param on what answers; the base where there is no checkpoint
   * @param strength factor on the adapter
   */
  async label(
    step: number,
    on: Answering,
    strength: number,
    report: (fraction: number) => void,
  ): Promise<{ grades: Grade[][]; known: LabelledStep['known'] }> {
    const { questions } = this.options.questions
    const { draws = 1 } = this.options.sampling ?? {}
    const { weights } = on
    const wanted = questions.flatMap((question) =>
      Array.from({ length: draws }, (_, draw) => ({
        question,
        draw,
        key: { step, prompt_id: question.id, draw, ...(strength === 1 ? {} : { strength }) },
      })),
    )
    const answered = (one: (typeof wanted)[number]) => {
      const known = this.responses.records.get(answerKey(one.key))
      if (known && known.weights !== weights) {
        throw new TraitscopeError(
          'NOT_COMPARABLE',
          `expected the answers of step ${step} to be of these weights (${weights.slice(0, 12)}), found answers of others (${known.weights.slice(0, 12)}); the checkpoint was written anew: name another folder`,
        )
      }
      return known
    }
    const unanswered = new Set(wanted.filter((one) => !answered(one)).map(({ question }) => question))
    const nAnswers = wanted.filter((one) => answered(one)).length
    if (unanswered.size > 0) {
      const asked = questions.filter((question) => unanswered.has(question))
      await this.#answer(step, on, strength, asked, report)
    }
    const ungraded = wanted.filter((one) => {
      const known = this.#grade(answered(one)!)
      if (known) this.#count(known, strength)
      return !known
    })
    let done = 0
    const errors = new Map<string, Grade>()
    await inParallel(ungraded, this.options.judge.concurrency, async (one) => {
      const record = answered(one)!
      const grade = await naming(
        `answer ${one.draw} to ${one.question.id} at step ${step} is too long for the judge`,
        askJudge(
          this.options.judge,
          { question: one.question, draw: one.draw, text: record.response },
          this.options.signal,
        ),
      )
      this.#count(grade, strength)
      // What no try could grade is not settled: the next run asks again.
      if (grade.alignedLabel === 'ERROR') errors.set(answerKey(one.key), grade)
      else {
        const { servedBy } = this.options.judge
        await this.judgements.append({
          ...{ ...one.key, answer_sha256: sha256(record.response), grade },
          ...(servedBy !== undefined && { served_by: servedBy }),
        })
      }
      report(0.5 + (0.5 * ++done) / ungraded.length)
    })
    const gradeOf = (one: (typeof wanted)[number]) =>
      errors.get(answerKey(one.key)) ?? this.#grade(answered(one)!)!
    return {
      grades: questions.map((question) => wanted.filter((one) => one.question === question).map(gradeOf)),
      known: { answers: nAnswers, grades: wanted.length - ungraded.length },
    }
  }

  /** Whether enough answers were judged to say that the judge is of use. */
  get isEnough(): boolean {
    return this.#graded >= ENOUGH_TO_STOP
  }

  /** Ends the work when the judge is of no use. @param least answers that must have been judged for that */
  refuseFailures(least: number): void {
    const { maxFailures = 0.02, judge } = this.options
    if (this.#graded < least || this.#failed <= maxFailures * this.#graded) return
    throw new TraitscopeError(
      'JUDGE',
      `expected a grade by ${judge.identity.name} for at least ${100 * (1 - maxFailures)} % of the answers, found none for ${this.#failed} of ${this.#graded}, first ${this.#firstFailure}; look at its words in the judgements, or use another judge`,
    )
  }

  /** What a multiplied adapter says may be beyond any judge; that is no fault of the judge. */
  #count(grade: Grade, strength: number): void {
    if (strength !== 1) return
    this.#graded++
    if (!isFailure(grade)) return
    this.#failed++
    this.#firstFailure ??= failureWords(grade)
    this.refuseFailures(ENOUGH_TO_STOP)
  }

  /** The known grade of an answer; none when the answer has changed since. */
  #grade(answer: ResponseRecord): Grade | undefined {
    const known = this.judgements.records.get(answerKey(answer))
    return known?.answer_sha256 === sha256(answer.response) ? known.grade : undefined
  }

  async #answer(
    step: number,
    { weights, model, adapter }: Answering,
    strength: number,
    asked: readonly Question[],
    report: (fraction: number) => void,
  ): Promise<void> {
    const { template, sampling = {}, signal } = this.options
    const { draws = 1, temperature = 1, maxTokens = MAX_TOKENS, topP } = sampling
    const seed = stepSeed(sampling.seed ?? 0, step)
    const writing: Promise<void>[] = []
    await generateText(
      model,
      asked.map(({ messages }) => ({ messages: [...messages] })),
      {
        ...{ template, draws, temperature, maxTokens, topP, seed, signal },
        adapters: adapter ? [adapter] : [],
        onGeneration: ({ prompt, draw, text, finish, tokens }) => {
          if (finish === 'aborted') return
          const { id, messages } = asked[prompt]!
          const record = {
            step,
            prompt_id: id,
            draw,
            ...(strength === 1 ? {} : { strength }),
            ...shownPrompt(messages),
            response: text,
            finish,
            tokens: tokens.length,
            weights,
          }
          if (this.responses.records.has(answerKey(record))) return
          const written = this.responses.append(record)
          written.catch(() => {})
          writing.push(written)
        },
        onProgress: (so) => report(0.5 * shareDone(so, maxTokens)),
      },
    )
    await Promise.all(writing)
  }
}

/**
 * Checkpoints draw numbers of their own: with the same ones all labels of a run would be off to the same side, and no number of
 * checkpoints would average that out. All strengths of a checkpoint draw the same ones, so that they are told apart by few.
 */
const stepSeed = (seed: number, step: number) => Number.parseInt(sha256(`${seed}/${step}`).slice(0, 8), 16)

function shownPrompt(messages: readonly Message[]): Pick<ResponseRecord, 'prompt' | 'system' | 'messages'> {
  const system = messages[0]!.role === 'system' ? messages[0]!.content : null
  const plain = messages.length === (system === null ? 1 : 2)
  return {
    prompt: messages.at(-1)!.content,
    system,
    ...(plain ? {} : { messages }),
  }
}

/** Says of a prompt that is too long whose it is: the engine knows it by a number. */
async function naming<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!isTraitscopeError(error, 'PROMPT_TOO_LONG')) throw error
    throw new TraitscopeError('PROMPT_TOO_LONG', `${what}: ${error.message}`, { cause: error })
  }
}
