import { LLAMA_CPP_VERSION, systemInfo } from '../binding.js'
import type { AppendLog } from '../formats/files/append-log.js'
import { sha256 } from '../formats/files/hash.js'
import { KeyedStore } from '../formats/files/keyed-store.js'
import { readWhole } from '../formats/files/read-whole.js'
import { isJsonObject } from '../formats/json/json.js'
import type { Model } from '../model/model.js'
import type { Judge } from './judge.js'
import { beforeReplies } from './judge-identity.js'
import { settingsOf } from './label-folder.js'
import { answerKey, isJudgement, isResponse, type JudgementRecord, type ResponseRecord } from './label-log.js'
import type { CachedLabels, LabelRunOptions } from './label-options.js'

const MAX_ENTRIES = 64
const MAX_BYTES = 64 * 2 ** 20

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

/** A list of records per key; more of them replace fewer. */
class KeptRecords<T extends ResponseRecord | JudgementRecord> {
  readonly #store: KeyedStore
  readonly #key: string

  constructor(
    folder: string,
    prefix: string,
    key: object,
    private readonly is: (value: unknown) => value is T,
  ) {
    this.#store = new KeyedStore(folder, {
      ...{ prefix, suffix: '.json', maxBytes: MAX_BYTES, maxEntries: MAX_ENTRIES },
    })
    this.#key = sha256(JSON.stringify(key))
  }

  async get(): Promise<T[]> {
    try {
      const bytes = await readWhole(this.#store.path(this.#key), { maxBytes: MAX_BYTES })
      const kept: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
      if (!isJsonObject(kept) || kept.key !== this.#key || !Array.isArray(kept.records)) return []
      if (kept.sha256 !== sha256(JSON.stringify(kept.records)) || !kept.records.every(this.is)) return []
      await this.#store.has(this.#key)
      return kept.records
    } catch {
      return []
    }
  }

  async put(logged: ReadonlyMap<string, T>): Promise<void> {
    const records = [...logged.values()].filter(({ step }) => step === 0)
    const known = await this.get()
    if (records.length <= known.length) return
    try {
      const text = JSON.stringify({ key: this.#key, sha256: sha256(JSON.stringify(records)), records })
      if (text.length > MAX_BYTES / 4) return
      await this.#store.write(this.#key, text)
    } catch {
      // No cache then, as with that of states.
    }
  }
}
