import { LLAMA_CPP_VERSION, systemInfo } from '../binding.js'
import type { AppendLog } from '../formats/files/append-log.js'
import { sha256 } from '../formats/files/hash.js'
import type { Model } from '../model/model.js'
import {
  answerKey,
  isJudgement,
  isResponse,
  type JudgementRecord,
  type ResponseRecord,
} from './answers/label-log.js'
import type { Judge } from './judges/judge.js'
import { beforeReplies } from './judges/judge-identity.js'
import { KeptRecords } from './kept-records.js'
import { settingsOf } from './label-folder.js'
import type { CachedLabels, LabelRunOptions } from './label-options.js'

/**
 * Answers of base models and their grades on disk, so that runs of one base share step 0. The key of the answers names
 * everything that can change one, that of the grades the judge too; how many answers there are to a question is in neither:
 * answers do not depend on it. An entry that is missing or damaged is the same as none, and a folder that cannot be
 * written costs the cache, never the labels.
 */
export class Step0Labels {
  readonly #answers: KeptRecords<ResponseRecord>
  readonly #grades: KeptRecords<JudgementRecord> | undefined

  constructor(folder: string, model: Model, options: LabelRunOptions) {
    const settings = {
      schema: 1,
      ...settingsOf(model, options),
      compute: { ...model.options, device: model.device, system: systemInfo() },
      llamaCpp: LLAMA_CPP_VERSION,
    }
    this.#answers = new KeptRecords(folder, 'answers0-', settings, isResponse)
    const grades = gradesKey(options.judge)
    if (grades !== null)
      this.#grades = new KeptRecords(folder, 'grades0-', { ...settings, ...grades }, isJudgement)
  }

  /** Adds to the logs what they lack of the first `draws` answers to every question. */
  async fill(
    responses: AppendLog<ResponseRecord>,
    judgements: AppendLog<JudgementRecord>,
    draws: number,
  ): Promise<CachedLabels> {
    const answers = (await this.#answers.get()).filter(
      (one) => one.draw < draws && !responses.records.has(answerKey(one)),
    )
    await Promise.all(answers.map((one) => responses.append(one)))
    const grades = ((await this.#grades?.get()) ?? []).filter((one) => {
      const answer = responses.records.get(answerKey(one))
      return (
        answer !== undefined &&
        one.draw < draws &&
        one.answer_sha256 === sha256(answer.response) &&
        !judgements.records.has(answerKey(one))
      )
    })
    await Promise.all(grades.map((one) => judgements.append(one)))
    return { answers: answers.length, grades: grades.length }
  }

  /** Keeps what the logs hold of step 0. */
  async keep(responses: AppendLog<ResponseRecord>, judgements: AppendLog<JudgementRecord>): Promise<void> {
    await this.#answers.put(responses.records)
    await this.#grades?.put(judgements.records)
  }
}

/** Null for a judge of which nobody can tell whether it is still the same. */
function gradesKey({ identity, cacheKey }: Judge): object | null {
  return cacheKey === null ? null : { judge: beforeReplies(identity), cacheKey }
}
