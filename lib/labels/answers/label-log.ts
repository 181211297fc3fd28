/** What labelling has done, record by record, so that a killed one goes on where it was. */
import { TraitscopeError } from '../../errors.js'
import { AppendLog, type LogOptions, readLog } from '../../formats/files/append-log.js'
import { isJsonObject } from '../../formats/json/json.js'
import { isFiniteNumber, isIndex, isText } from '../../formats/json/json-fields.js'
import type { FinishReason } from '../../model/generation.js'
import type { Message } from '../../prompts/messages.js'
import type { Grade } from './grade.js'

/** A line of `responses.jsonl`: the reference's fields, and ours. */
export interface ResponseRecord {
  step: number
  prompt_id: string
  draw: number
  /** Factor on the adapter; absent as trained. */
  strength?: number
  prompt: string
  system: string | null
  /** Where there is more than a system prompt and one question. */
  messages?: readonly Message[]
  response: string
  finish: FinishReason
  tokens: number
  /** Identity of the weights that answered. */
  weights: string
}

/** A line of `judgements.<judge>.jsonl`. */
export interface JudgementRecord {
  step: number
  prompt_id: string
  draw: number
  strength?: number
  /** SHA-256 of the answer's UTF-8 text. */
  answer_sha256: string
  grade: Grade
  /** What the endpoint said that it was; absent where none was asked, or it says nothing. */
  served_by?: string
}

export type AnswerKey = Pick<ResponseRecord, 'step' | 'prompt_id' | 'draw' | 'strength'>

/** What one answer is known by within a run. */
export const answerKey = ({ step, prompt_id, draw, strength }: AnswerKey): string =>
  JSON.stringify([step, prompt_id, draw, ...(strength === undefined ? [] : [strength])])

const RESPONSES: LogOptions<ResponseRecord> = {
  key: answerKey,
  parse: (value, where) => (isResponse(value) ? value : refuse(where, 'an answer')),
}
const JUDGEMENTS: LogOptions<JudgementRecord> = {
  key: answerKey,
  parse: (value, where) => (isJudgement(value) ? value : refuse(where, 'a judged answer')),
}

export const openResponses = (path: string): Promise<AppendLog<ResponseRecord>> =>
  AppendLog.open(path, RESPONSES)
export const openJudgements = (path: string): Promise<AppendLog<JudgementRecord>> =>
  AppendLog.open(path, JUDGEMENTS)

/** By {@link answerKey}; somebody else may be writing them. */
export const readResponses = (path: string): Promise<ReadonlyMap<string, ResponseRecord>> =>
  readLog(path, RESPONSES)
export const readJudgements = (path: string): Promise<ReadonlyMap<string, JudgementRecord>> =>
  readLog(path, JUDGEMENTS)

function refuse(where: string, what: string): never {
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected ${what} in ${where}; it was written by something else, name another folder`,
  )
}

export function isResponse(value: unknown): value is ResponseRecord {
  if (!isJsonObject(value)) return false
  const { step, prompt_id, draw, strength, response, weights } = value
  return (
    isIndex(step) && isIndex(draw) && isStrength(strength) && [prompt_id, response, weights].every(isText)
  )
}

export function isJudgement(value: unknown): value is JudgementRecord {
  return (
    isJsonObject(value) &&
    isIndex(value.step) &&
    isIndex(value.draw) &&
    isStrength(value.strength) &&
    isText(value.prompt_id) &&
    isGradeJson(value)
  )
}

const isStrength = (value: unknown): boolean => value === undefined || isFiniteNumber(value)

/** An answer's hash with its grade. */
export function isGradeJson(value: object): value is Pick<JudgementRecord, 'answer_sha256' | 'grade'> {
  if (!('answer_sha256' in value && isText(value.answer_sha256) && 'grade' in value)) return false
  const { grade } = value
  if (!isJsonObject(grade)) return false
  const isScore = (score: unknown) => score === null || isFiniteNumber(score)
  return isText(grade.alignedLabel) && isScore(grade.aligned) && isScore(grade.coherent)
}
