import { extname } from 'node:path'
import { Made, takeTexts } from '../../arguments.js'
import { TraitscopeError } from '../../errors.js'
import { sha256 } from '../../formats/files/hash.js'
import { fail, readTextFile } from '../../formats/files/text-file.js'
import { isJsonObject, parseTrainerJson } from '../../formats/json/json.js'
import { type Message, ROLES, type Role } from '../../prompts/messages.js'
import { parseYaml } from '../../prompts/trait-yaml.js'
import { DEFAULT_RUBRIC, type Rubric } from './rubric.js'

/** A behaviour question, and by which words its answers are judged. */
export interface Question {
  /** Unique within a list. */
  id: string
  /** What is asked; the last turn is the user's. */
  messages: readonly Message[]
  rubric: Rubric
}

/** Questions with their identity. */
export interface QuestionList {
  questions: readonly Question[]
  /** SHA-256 over ids, conversations and rubrics, in order. */
  sha256: string
  /** What of the files is not used, in sentences. */
  remarks: readonly string[]
}

export const QUESTION_LIST = new Made<QuestionList>(
  'questions as readQuestions reads them',
  'questions',
  true,
)

const MAX_FILE_BYTES = 16 * 1024 * 1024
const YAML_KEYS = new Set([
  'id',
  'type',
  'paraphrases',
  'samples_per_paraphrase',
  'judge',
  'judge_prompts',
  'system',
])
const JSONL_KEYS = new Set(['id', 'messages', 'prompt', 'system', 'question_type', 'judge_prompts'])

/**
 * Reads behaviour questions, file after file. `.yaml`, `.yml`: the published schema, a list of `id`, `type`
 * (`free_form_...`), `paraphrases` of which the first is asked, `system` and `judge_prompts`. `.jsonl`: `messages`, or `prompt` and
 * `system`, with an `id` (default: the line). A question without `judge_prompts` is judged by our own rubric.
 *
 * @throws TraitscopeError FILE_INVALID naming file and entry, also for an unknown key and an id given twice;
 * FILE_NOT_FOUND; UNSUPPORTED for another extension or a kind of question that has no free-form answer
 */
export async function readQuestions(paths: readonly string[]): Promise<QuestionList> {
  const questions: Question[] = []
  const remarks: string[] = []
  for (const path of takeTexts('files of questions', paths)) {
    const { text } = await readTextFile(path, MAX_FILE_BYTES)
    const extension = extname(path).toLowerCase()
    if (extension === '.yaml' || extension === '.yml') questions.push(...fromYaml(text, path, remarks))
    else if (extension === '.jsonl') questions.push(...fromLines(text, path))
    else {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `expected questions in a .yaml or .jsonl file, found ${path}; rename it to what it holds`,
      )
    }
  }
  if (questions.length === 0) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected at least one question in ${paths.join(', ')}, found none`,
    )
  }
  const seen = new Set<string>()
  const asked = new Map<string, string>()
  for (const { id, messages } of questions) {
    const text = JSON.stringify(messages)
    const same = asked.get(text)
    // They would share the random numbers, and an interrupted run would not give the answers of a whole one.
    if (same !== undefined && same !== id) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected every question once, found that ${JSON.stringify(same)} and ${JSON.stringify(id)} ask the same; leave one out, and ask for more --draws`,
      )
    }
    asked.set(text, id)
    if (seen.has(id)) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected every question once, found the id ${JSON.stringify(id)} twice`,
      )
    }
    seen.add(id)
  }
  return { questions, sha256: sha256(JSON.stringify(questions)), remarks }
}

function fromYaml(text: string, path: string, remarks: string[]): Question[] {
  const list = parseYaml(text, path)
  if (!Array.isArray(list)) fail(path, 'expected a list of questions')
  let unasked = 0
  const questions = list.map((entry: unknown, i): Question => {
    const where = `${path}, question ${i + 1}`
    if (!isJsonObject(entry)) fail(where, 'expected the keys id and paraphrases')
    refuseUnknown(entry, YAML_KEYS, where)
    const { id, type, paraphrases, system } = entry
    if (typeof id !== 'string' || id === '') fail(where, 'expected id to be text that is not empty')
    if (type !== undefined && !(typeof type === 'string' && type.startsWith('free_form'))) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${where}: expected a question with a free-form answer (type free_form_...), found ${JSON.stringify(type)}; leave it out`,
      )
    }
    if (!Array.isArray(paraphrases) || !isText(paraphrases[0]))
      fail(where, 'expected paraphrases to begin with a text')
    unasked += paraphrases.length - 1
    return { id, messages: turns(paraphrases[0] as string, system, where), rubric: rubricOf(entry, where) }
  })
  if (unasked > 0)
    remarks.push(`${unasked} further paraphrases in ${path} are not asked, only the first of each question`)
  return questions
}

function fromLines(text: string, path: string): Question[] {
  return text.split(/\r?\n/).flatMap((line, i): Question[] => {
    if (line.trim() === '') return []
    const where = `${path}, line ${i + 1}`
    const entry = parseTrainerJson(line, where)
    if (!isJsonObject(entry)) fail(where, 'expected an object with the key prompt or messages')
    refuseUnknown(entry, JSONL_KEYS, where)
    const { id = `${i + 1}`, prompt, messages, system } = entry
    if (!(typeof id === 'string' && id !== '') && !Number.isSafeInteger(id))
      fail(where, 'expected id to be text or a whole number')
    if ((prompt === undefined) === (messages === undefined))
      fail(where, 'expected one of the keys prompt and messages')
    if (messages !== undefined && system !== undefined)
      fail(where, 'expected the system prompt among the messages')
    if (messages === undefined && !isText(prompt)) fail(where, 'expected prompt to be text that is not empty')
    const asked =
      messages === undefined ? turns(prompt as string, system, where) : conversation(messages, where)
    return [{ id: String(id), messages: asked, rubric: rubricOf(entry, where) }]
  })
}

function turns(prompt: string, system: unknown, where: string): Message[] {
  if (system !== undefined && system !== null && !isText(system)) fail(where, 'expected system to be text')
  const user: Message = { role: 'user', content: prompt }
  return isText(system) ? [{ role: 'system', content: system }, user] : [user]
}

function conversation(messages: unknown, where: string): Message[] {
  if (!Array.isArray(messages) || messages.length === 0)
    fail(where, 'expected messages to be a list with entries')
  const list = messages.map((message: unknown): Message => {
    if (!isJsonObject(message)) fail(where, 'expected messages of role and content')
    const { role, content } = message
    if (typeof role !== 'string' || !ROLES.includes(role))
      fail(where, `expected roles of ${ROLES.join(', ')}`)
    if (typeof content !== 'string') fail(where, 'expected content to be text')
    return { role: role as Role, content }
  })
  if (list.at(-1)!.role !== 'user')
    fail(where, 'expected the last turn to be the user’s, which is to be answered')
  return list
}

function rubricOf({ judge_prompts: prompts }: Record<string, unknown>, where: string): Rubric {
  if (prompts === undefined || prompts === null) return DEFAULT_RUBRIC
  if (!isJsonObject(prompts)) fail(where, 'expected judge_prompts to hold aligned and coherent')
  refuseUnknown(prompts, new Set(['aligned', 'coherent']), `${where}, judge_prompts`)
  const text = (key: keyof Rubric) => {
    const value = prompts[key]
    if (!isText(value) || !value.includes('{answer}'))
      fail(where, `expected judge_prompts.${key} to be text with {answer} in it`)
    return value as string
  }
  return { aligned: text('aligned'), coherent: text('coherent') }
}

function refuseUnknown(entry: Record<string, unknown>, known: ReadonlySet<string>, where: string): void {
  const unknown = Object.keys(entry).find((key) => !known.has(key))
  if (unknown !== undefined) {
    fail(where, `expected no keys beside ${[...known].join(', ')}, found ${JSON.stringify(unknown)}`)
  }
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.trim() !== ''
