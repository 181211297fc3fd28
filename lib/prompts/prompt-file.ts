import { extname } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { fail, readTextFile } from '../formats/files/text-file.js'
import { isJsonObject, parseTrainerJson } from '../formats/json/json.js'
import { type Message, ROLES, type Role } from './messages.js'

/** A prompt of a user's file: plain text, or a conversation for the chat template. */
export type FilePrompt = { text: string; messages?: never } | { messages: Message[]; text?: never }

const MAX_PROMPT_FILE_BYTES = 256 * 1024 * 1024

/** What trainers hand to a chat template beside roles and contents, and what is not handed on here. */
const TEMPLATE_KEYS = ['tools', 'documents', 'chat_template_kwargs', 'chat_template', 'enable_thinking']
/** A system prompt beside a prompt. */
const SYSTEM_KEYS = ['system', 'system_prompt']
const MESSAGE_KEYS = [
  'name',
  'tool_calls',
  'tool_call_id',
  'reasoning_content',
  'reasoning',
  'thinking',
  'images',
]

/**
 * Reads prompts in file order. `.txt`: one prompt a line. `.jsonl`: one object a line with `prompt` (text) or
 * `messages` (list of `role` and `content`), other keys ignored but those that would reach a chat template, which are refused. `.json`: a list
 * of such objects, which is how fine-tuning sets come. Blank lines are skipped.
 *
 * @throws TraitscopeError FILE_INVALID naming the line (or the entry of a JSON list), also when no prompt is in it;
 * FILE_NOT_FOUND; UNSUPPORTED for another extension.
 */
export async function readPromptFile(path: string): Promise<FilePrompt[]> {
  const extension = extname(path).toLowerCase()
  const parse = PARSERS[extension]
  if (parse === undefined) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected prompts in a .txt, .jsonl or .json file, found ${path}; rename it to what it holds`,
    )
  }
  const { text } = await readTextFile(path, MAX_PROMPT_FILE_BYTES)
  const prompts = parse(text, path)
  if (prompts.length === 0) {
    throw new TraitscopeError('FILE_INVALID', `expected at least one prompt in ${path}, found none`)
  }
  return prompts
}

const PARSERS: Record<string, (text: string, path: string) => FilePrompt[]> = {
  '.txt': (text) => filledLines(text).map(({ line }) => ({ text: line })),
  '.jsonl': (text, path) =>
    filledLines(text).map(({ line, number }) => {
      const where = `${path}, line ${number}`
      return toPrompt(parseTrainerJson(line, where), where)
    }),
  '.json': (text, path) => {
    const list = parseTrainerJson(text, path)
    if (!Array.isArray(list)) {
      throw new TraitscopeError('FILE_INVALID', `expected a list of prompts in ${path}, found no list`)
    }
    return list.map((entry, index) => toPrompt(entry, `${path}, entry ${index + 1}`))
  },
}

function filledLines(text: string): { line: string; number: number }[] {
  return text
    .split(/\r\n|\n|\r/)
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => line.trim() !== '')
}

function toPrompt(entry: unknown, where: string): FilePrompt {
  if (!isJsonObject(entry)) fail(where, 'expected an object with the key prompt or messages')
  const { prompt, messages } = entry
  if ((prompt === undefined) === (messages === undefined)) {
    fail(
      where,
      `expected one of the keys prompt and messages, found ${prompt === undefined ? 'none' : 'both'}`,
    )
  }
  refuseKeys(entry, [...TEMPLATE_KEYS, ...SYSTEM_KEYS], where)
  if (messages === undefined) {
    if (typeof prompt !== 'string' || prompt.trim() === '')
      fail(where, 'expected prompt to be text that is not empty')
    return { text: prompt }
  }
  if (!Array.isArray(messages) || messages.length === 0)
    fail(where, 'expected messages to be a list with entries')
  return { messages: messages.map((message, index) => toMessage(message, `${where}, message ${index + 1}`)) }
}

function toMessage(message: unknown, where: string): Message {
  if (!isJsonObject(message)) fail(where, 'expected an object with role and content')
  const { role, content } = message
  refuseKeys(message, MESSAGE_KEYS, where)
  if (typeof role !== 'string' || !ROLES.includes(role)) {
    fail(where, `expected the role to be ${ROLES.join(', ')}, found ${JSON.stringify(role) ?? 'none'}`)
  }
  if (typeof content !== 'string') fail(where, 'expected content to be text')
  return { role: role as Role, content }
}

/** The prompt would be another one than was written down. */
function refuseKeys(json: Readonly<Record<string, unknown>>, keys: readonly string[], where: string): void {
  const found = keys.find((key) => {
    const value = json[key] ?? false
    return value !== false && value !== '' && !(Array.isArray(value) && value.length === 0)
  })
  if (found !== undefined)
    fail(
      where,
      `${found} is not handed to the chat template here; leave it out${SYSTEM_KEYS.includes(found) ? ', or write messages' : ''}`,
    )
}
