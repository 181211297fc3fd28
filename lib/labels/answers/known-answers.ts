import { basename } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { sha256 as hashOf } from '../../formats/files/hash.js'
import { isFiniteNumber } from '../../formats/json/json-fields.js'
import type { AlignmentLabel } from './grade.js'
import { scored } from './reading.js'
import { missing, readRows } from './row-file.js'

/** An answer of which somebody has said how good it is. */
export interface KnownAnswer {
  questionId: string
  question: string
  answer: string
  /** 0 to 100; null for CODE and REFUSAL. */
  aligned: number | null
  label: AlignmentLabel
  /** 0 to 100; null where nobody said, which excludes nothing. */
  coherent: number | null
  /** What the answer's model was fine-tuned on, where the file says. */
  domain: string | null
}

/** A file of them. */
export interface KnownAnswers {
  file: string
  sha256: string
  answers: readonly KnownAnswer[]
  /** Rows without a score, which are left out. */
  unscored: number
}

/** Names of a column, ours first; the others are those of published files. */
const NAMES = {
  questionId: ['question_id', 'prompt_id', 'id'],
  question: ['question', 'prompt'],
  answer: ['answer', 'response'],
  aligned: ['aligned', 'aligned_score'],
  coherent: ['coherent', 'coherent_score'],
  domain: ['domain', 'set', 'dataset'],
} as const

/**
 * Reads answers with known scores: `.csv` with a header, or `.jsonl`, with the columns `question`, `answer` (or `response`),
 * `aligned` and `coherent` (0 to 100; `aligned` may be CODE or REFUSAL), and where they exist `question_id` (default: one per
 * question) and `domain` (or `set`). Other columns are not read. Rows without `aligned` are counted and left out.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the row; UNSUPPORTED for another extension
 */
export async function readKnownAnswers(path: string): Promise<KnownAnswers> {
  const { rows, sha256 } = await readRows(path, 'answers with known scores')
  const answers: KnownAnswer[] = []
  let unscored = 0
  for (const { row, where } of rows) {
    const known = knownAnswer(row, where)
    if (known) answers.push(known)
    else unscored++
  }
  if (answers.length === 0) {
    const columns = new Set(rows.flatMap(({ row }) => Object.keys(row)))
    const found = NAMES.aligned.some((name) => columns.has(name))
      ? `none in ${rows.length} rows`
      : `the columns ${[...columns].slice(0, 8).join(', ') || '(none)'}`
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected answers with known scores under question, answer, aligned in ${path}, found ${found}`,
    )
  }
  checkScale(answers, path)
  return { file: basename(path), sha256, answers, unscored }
}

/** Shares of 1, or a yes and no of 1 and 0, would all count as the worst scores there are. */
function checkScale(answers: readonly KnownAnswer[], path: string): void {
  for (const what of ['aligned', 'coherent'] as const) {
    const highest = Math.max(...answers.map((answer) => answer[what] ?? 0))
    if (highest === 0 || highest > 1) continue
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected scores from 0 to 100 under ${what} in ${path}, found none above ${highest}; multiply them by 100`,
    )
  }
}

/** As people write them: `0x10` is no score, and neither is a blank. */
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

function knownAnswer(row: Record<string, unknown>, where: string): KnownAnswer | undefined {
  const cell = (what: keyof typeof NAMES) => {
    const value = row[NAMES[what].find((name) => row[name] !== undefined) ?? '']
    const isBlank = typeof value === 'string' && (what === 'answer' ? value : value.trim()) === ''
    return isBlank || value === null ? undefined : value
  }
  const text = (what: 'question' | 'answer') => {
    const value = cell(what)
    return typeof value === 'string' ? value : missing(where, `text under ${NAMES[what].join(' or ')}`)
  }
  const name = (what: 'questionId' | 'domain') => {
    const value = cell(what)
    return value === undefined ? undefined : String(value)
  }
  const score = (what: 'aligned' | 'coherent'): number | null => {
    const value = cell(what)
    if (value === undefined) return null
    const number = typeof value === 'string' && DECIMAL.test(value.trim()) ? Number(value) : value
    if (isFiniteNumber(number) && number >= 0 && number <= 100) return number
    return missing(where, `a number from 0 to 100 under ${what}`)
  }
  const said = cell('aligned')
  if (said === undefined) return undefined
  const label = said === 'CODE' || said === 'REFUSAL' ? said : undefined
  const aligned = label === undefined ? score('aligned') : null
  const question = text('question')
  return {
    questionId: name('questionId') ?? hashOf(question).slice(0, 12),
    question,
    // An answer may be empty: a model that says nothing has said that.
    answer: cell('answer') === undefined ? '' : text('answer'),
    aligned,
    label: label ?? scored(aligned!).label,
    coherent: score('coherent'),
    domain: name('domain') ?? null,
  }
}
