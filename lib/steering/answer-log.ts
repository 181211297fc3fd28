/** What choosing a layer has generated and heard, record by record, so that a killed choice goes on where it was. */
import { TraitscopeError } from '../errors.js'
import { AppendLog } from '../formats/files/append-log.js'
import { isJsonObject } from '../formats/json/json.js'
import { isText } from '../formats/json/json-fields.js'
import type { PairJudgement } from './pair-judge.js'

/** An answer, or what a judge said of one; the other half is missing. */
export interface SteeringRecord {
  /** Hash of all that the record depends on beside its id: base, directions, template, suite, settings, judge. */
  basis: string
  /** `layer=14|dose=0.10|honesty|honesty-01|positive`, `baseline|honesty-01`. */
  id: string
  text?: string
  judgement?: PairJudgement
  /** What the endpoint that judged said that it was. */
  served_by?: string
}

/** What one record is known by. */
export const recordKey = ({ basis, id }: Pick<SteeringRecord, 'basis' | 'id'>): string => `${basis} ${id}`

/** @throws as `AppendLog.open` */
export function openSteeringLog(path: string): Promise<AppendLog<SteeringRecord>> {
  return AppendLog.open(path, {
    key: recordKey,
    parse: (value, where) => {
      if (isRecord(value)) return value
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected a steered answer or a judgement in ${where}; it was written by something else, name another folder`,
      )
    },
  })
}

function isRecord(value: unknown): value is SteeringRecord {
  if (!isJsonObject(value) || !isText(value.basis) || !isText(value.id)) return false
  return isText(value.text) || isJsonObject(value.judgement)
}
