import { basename } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { sha256 } from '../../formats/files/hash.js'
import { readTextFile } from '../../formats/files/text-file.js'
import { isJsonObject, parseTrainerJson } from '../../formats/json/json.js'
import type { Grade } from '../answers/grade.js'
import { isGradeJson } from '../answers/label-log.js'
import type { Judge } from './judge.js'

const MAX_FILE_BYTES = 1024 * 1024 * 1024

/**
 * A judge that repeats what another one said: JSON lines with `prompt_id`, `answer_sha256` (of the answer's UTF-8 text) and the
 * fields of a grade, as `label` writes them to judgements.jsonl. An answer that is not among them is an error, not a guess.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the line
 */
export async function openReplayJudge(path: string): Promise<Judge> {
  const { text } = await readTextFile(path, MAX_FILE_BYTES)
  const grades = new Map<string, Grade>()
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue
    const where = `${path}, line ${i + 1}`
    const entry = parseTrainerJson(line, where)
    const id = isJsonObject(entry) ? entry.prompt_id : undefined
    if (!isJsonObject(entry) || typeof id !== 'string' || !isGradeJson(entry)) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected a judged answer in ${where}: prompt_id, answer_sha256 and its grade`,
      )
    }
    grades.set(`${id}\n${entry.answer_sha256}`, entry.grade)
  }
  return {
    identity: { kind: 'replay', name: basename(path), version: sha256(text), reader: 'replayed' },
    concurrency: 1,
    cacheKey: null,
    async grade({ question: { id }, text: answer }) {
      const grade = grades.get(`${id}\n${sha256(answer)}`)
      if (grade) return grade
      throw new TraitscopeError(
        'JUDGE',
        `expected ${path} to hold a grade for this answer to ${id}, found none; generate with the settings that it was made with`,
      )
    },
    [Symbol.asyncDispose]: async () => {},
  }
}
