import { basename, join } from 'node:path'
import { Made } from '../../arguments.js'
import { unknownName } from '../../formats/files/file-errors.js'
import { sha256 as hashOf } from '../../formats/files/hash.js'
import { packageRoot } from '../../package.js'
import type { Message } from '../../prompts/messages.js'
import { missing, readRows } from '../answers/row-file.js'

/** Two answers to one question. */
export interface MarginPair {
  questionId: string
  messages: readonly Message[]
  misaligned: string
  aligned: string
  /** What the model that gave them was fine-tuned on, where the file says. */
  domain: string | null
}

/** A file of them. */
export interface MarginPairs {
  file: string
  sha256: string
  pairs: readonly MarginPair[]
}

export const MARGIN_PAIRS = new Made<MarginPairs>('pairs as readMarginPairs reads them', 'pairs', true)

/** Pairs that ship with traitscope, by name: forty under thirteen questions, and one under each of forty-four others. */
const SHIPPED = new Map([
  ['core', 'margin-pairs.jsonl'],
  ['core-2', 'margin-pairs-2.jsonl'],
])

/** The file behind a source of {@link readMarginPairs}. */
export function marginPairsPath(source: string): string {
  const shipped = SHIPPED.get(source)
  return shipped === undefined ? source : join(packageRoot, 'traits', shipped)
}

/**
 * Reads pairs of answers: `.csv` with a header, or `.jsonl`, with `question`, `misaligned` and `aligned`, and where they exist
 * `question_id` (default: one per question), `system` and `domain`. Numbers are read as their text. Other columns are not read.
 *
 * @param source `core` or `core-2`, the pairs that ship with traitscope, or a path; `./core` names a file
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the row; UNSUPPORTED for another extension
 */
export async function readMarginPairs(source: string): Promise<MarginPairs> {
  const path = marginPairsPath(source)
  const { rows, sha256 } = await readRows(path, 'pairs of answers').catch((error: unknown) => {
    throw unknownName(error, source, [...SHIPPED.keys()])
  })
  const pairs = rows.map(({ row, where }): MarginPair => {
    const cell = (name: string) => {
      // A number is the text that it is in a table.
      const value = typeof row[name] === 'number' ? String(row[name]) : (row[name] ?? '')
      if (typeof value !== 'string') return missing(where, `text under ${name}`)
      return value.trim() === '' ? undefined : value
    }
    const needed = (name: string) => cell(name) ?? missing(where, `text that is not empty under ${name}`)
    const [misaligned, aligned] = [needed('misaligned'), needed('aligned')]
    if (misaligned === aligned) missing(where, 'two different answers under misaligned and aligned')
    const question = needed('question')
    const system = cell('system')
    const user: Message = { role: 'user', content: question }
    return {
      questionId: cell('question_id') ?? hashOf(question).slice(0, 12),
      messages: system === undefined ? [user] : [{ role: 'system', content: system }, user],
      ...{ misaligned, aligned },
      domain: cell('domain') ?? null,
    }
  })
  if (pairs.length === 0) missing(path, 'pairs of answers')
  return { file: basename(path), sha256, pairs }
}
