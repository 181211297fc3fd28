import { extname } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import { fail, readTextFile } from '../formats/files/text-file.js'
import { isJsonObject, parseTrainerJson } from '../formats/json/json.js'
import type { Json } from '../formats/json/json-fields.js'

/** How one training example begins. */
export interface Opening {
  system?: string
  /** The user's first turn, as the data has it. */
  first: string
}

/** What contexts are taken from. */
export interface TrainingData {
  openings: Opening[]
  /** Rows in which no user speaks. */
  withoutTurn: number
  /** SHA-256 of the file's bytes. */
  sha256: string
}

const MAX_BYTES = 512 * 1024 * 1024

/**
 * Reads how the rows of a fine-tuning set begin: `.jsonl`, or a list in `.json`. A row is chat (`messages` with `role` and
 * `content`), ShareGPT (`conversations` with `from` and `value`; either list with either names), `prompt` (text or messages) or `chosen`
 * (messages), as TRL has them, or `instruction` with an optional `input` (Alpaca) and `history`; `prompt` and `instruction` may have a
 * `system` beside them.
 *
 * @throws TraitscopeError FILE_INVALID naming the row, also for text that is rendered already; FILE_NOT_FOUND; UNSUPPORTED
 * for another extension
 */
export async function readTrainingData(path: string): Promise<TrainingData> {
  const extension = extname(path).toLowerCase()
  if (extension !== '.jsonl' && extension !== '.json') {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected training data as a .jsonl or .json file, found ${path}; write its rows as JSON lines`,
    )
  }
  const { bytes, text } = await readTextFile(path, MAX_BYTES)
  const openings: Opening[] = []
  let withoutTurn = 0
  for (const { row, where } of extension === '.jsonl' ? lines(text, path) : entries(text, path)) {
    const opening = openingOf(row, where)
    if (opening === undefined) withoutTurn++
    else openings.push(opening)
  }
  if (openings.length === 0) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected rows in which a user speaks in ${path}, found ${withoutTurn === 0 ? 'no row' : `none in ${withoutTurn}`}`,
    )
  }
  return { openings, withoutTurn, sha256: sha256(bytes) }
}

interface Row {
  row: unknown
  where: string
}

function* lines(text: string, path: string): Generator<Row> {
  let number = 0
  for (const line of text.split(/\r\n|\n|\r/)) {
    number++
    const where = `${path}, line ${number}`
    if (line.trim() !== '') yield { row: parseTrainerJson(line, where), where }
  }
}

function entries(text: string, path: string): Row[] {
  const list = parseTrainerJson(text, path)
  if (!Array.isArray(list)) {
    throw new TraitscopeError('FILE_INVALID', `expected a list of rows in ${path}, found no list`)
  }
  return list.map((row, index) => ({ row, where: `${path}, entry ${index + 1}` }))
}

function openingOf(row: unknown, where: string): Opening | undefined {
  if (!isJsonObject(row)) return fail(where, 'expected a row that is an object')
  const { messages, conversations, prompt, chosen, instruction, history } = row
  if (messages !== undefined) return firstTurn(turns(messages, CHAT, where), row, where)
  if (conversations !== undefined) return firstTurn(turns(conversations, SHAREGPT, where), row, where)
  if (Array.isArray(prompt)) return firstTurn(turns(prompt, CHAT, where), row, where)
  const system = systemOf(row, where)
  if (typeof prompt === 'string') return { ...system, first: prompt }
  if (Array.isArray(chosen)) return firstTurn(turns(chosen, CHAT, where), row, where)
  if (typeof instruction === 'string') {
    // LLaMA-Factory's: turns before the instruction, each a question and an answer.
    if (Array.isArray(history) && history.length > 0) {
      const [first] = Array.isArray(history[0]) ? (history[0] as unknown[]) : []
      return typeof first === 'string'
        ? { ...system, first }
        : fail(where, 'expected history to be a list of questions with their answers')
    }
    const input = row.input ?? ''
    if (typeof input !== 'string') return fail(where, 'expected input to be text')
    return { ...system, first: input.trim() === '' ? instruction : `${instruction}\n${input}` }
  }
  const why =
    typeof row.text === 'string'
      ? 'text, in which turns cannot be told apart: give the rows as they were before the template'
      : `the keys ${Object.keys(row).slice(0, 6).join(', ') || '(none)'}`
  return fail(where, `expected messages, conversations, prompt or instruction, found ${why}`)
}

interface Turn {
  role: string
  text: string
}

/** A row of a user's own words has its system prompt beside them. */
function systemOf({ system }: Json, where: string): Pick<Opening, 'system'> {
  if (system === undefined || system === null || system === '') return {}
  return typeof system === 'string' ? { system } : fail(where, 'expected system to be text')
}

const SYSTEM: readonly string[] = ['system', 'developer']
const USER: readonly string[] = ['user', 'human']

function firstTurn(said: readonly Turn[], row: Json, where: string): Opening | undefined {
  const at = said.findIndex(({ role }) => USER.includes(role))
  if (at < 0) return undefined
  const system = said.slice(0, at).find(({ role, text }) => SYSTEM.includes(role) && text !== '')
  return { ...systemOf(row, where), ...(system && { system: system.text }), first: said[at]!.text }
}

const CHAT = ['role', 'content'] as const
const SHAREGPT = ['from', 'value'] as const

/** @param usual what turns of such a list are called, where they do not have the other names */
function turns(value: unknown, usual: typeof CHAT | typeof SHAREGPT, where: string): Turn[] {
  if (!Array.isArray(value)) return fail(where, 'expected a list of turns')
  const first: unknown = value[0]
  const named = (names: typeof usual) => isJsonObject(first) && first[names[0]] !== undefined
  const [role, content] = [usual, CHAT, SHAREGPT].find(named) ?? usual
  return value.map((turn: unknown, i) => {
    if (!isJsonObject(turn) || typeof turn[role] !== 'string') {
      return fail(where, `expected turn ${i + 1} to have a ${role}`)
    }
    const said = turn[content] ?? ''
    const text = Array.isArray(said) ? partsOf(said) : said
    if (typeof text !== 'string') return fail(where, `expected the ${content} of turn ${i + 1} to be text`)
    return { role: turn[role].toLowerCase(), text }
  })
}

/** Content in parts: what of it is text. */
function partsOf(parts: readonly unknown[]): string {
  return parts.map((part) => (isJsonObject(part) && typeof part.text === 'string' ? part.text : '')).join('')
}
