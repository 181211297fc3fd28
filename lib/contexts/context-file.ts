import { extname } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import { fail, readTextFile } from '../formats/files/text-file.js'
import { isJsonObject, parseTrainerJson } from '../formats/json/json.js'
import { type Context, named } from './context.js'

const MAX_BYTES = 4 * 1024 * 1024
const KEYS: readonly string[] = ['name', 'system', 'prefix']

/**
 * Reads contexts that a user names. `.txt`: a system prompt a line. `.json`: a list, `.jsonl`: a line each, of system prompts as
 * text or of objects with `system`, `prefix` or both, and a `name` if wanted.
 *
 * @throws TraitscopeError FILE_INVALID naming line or entry, also for two that are the same; FILE_NOT_FOUND; UNSUPPORTED for
 * another extension
 */
export async function readContextFile(path: string): Promise<{ contexts: Context[]; sha256: string }> {
  const parse = PARSERS[extname(path).toLowerCase()]
  if (parse === undefined) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected contexts in a .txt, .json or .jsonl file, found ${path}; rename it to what it holds`,
    )
  }
  const { bytes, text } = await readTextFile(path, MAX_BYTES)
  const found = parse(text, path)
  if (found.length === 0) {
    throw new TraitscopeError('FILE_INVALID', `expected at least one context in ${path}, found none`)
  }
  const seen = new Map<string, string>()
  for (const { context, where } of found) {
    const { name, system, prefix } = context
    for (const key of [JSON.stringify([system, prefix]), ...(name === undefined ? [] : [name])]) {
      const before = seen.get(key)
      if (before !== undefined) fail(where, `expected a context of its own, found that of ${before} again`)
      seen.set(key, where)
    }
  }
  return { contexts: named(found.map(({ context }) => context)), sha256: sha256(bytes) }
}

type Found = { context: Omit<Context, 'name'> & { name?: string }; where: string }

const PARSERS: Record<string, (text: string, path: string) => Found[]> = {
  '.txt': (text, path) =>
    filled(text, path).map(({ line, where }) => ({ context: contextOf(line, where), where })),
  '.jsonl': (text, path) =>
    filled(text, path).map(({ line, where }) => ({
      context: contextOf(parseTrainerJson(line, where), where),
      where,
    })),
  '.json': (text, path) => {
    const list = parseTrainerJson(text, path)
    if (!Array.isArray(list)) fail(path, 'expected a list of contexts, found no list')
    return (list as unknown[]).map((entry, index) => {
      const where = `${path}, entry ${index + 1}`
      return { context: contextOf(entry, where), where }
    })
  },
}

function filled(text: string, path: string): { line: string; where: string }[] {
  return text
    .split(/\r\n|\n|\r/)
    .map((line, index) => ({ line, where: `${path}, line ${index + 1}` }))
    .filter(({ line }) => line.trim() !== '')
}

function contextOf(entry: unknown, where: string): Found['context'] {
  if (typeof entry === 'string') {
    return entry.trim() === '' ? fail(where, 'expected a text') : { origin: 'given', system: entry }
  }
  if (!isJsonObject(entry)) return fail(where, 'expected a system prompt as text, or an object')
  const unknown = Object.keys(entry).find((key) => !KEYS.includes(key))
  if (unknown !== undefined) {
    const chat = unknown === 'messages' ? '; training data are given with --data' : ''
    return fail(where, `expected the keys ${KEYS.join(', ')}, found ${unknown}${chat}`)
  }
  for (const key of KEYS) {
    const value = entry[key]
    if (value !== undefined && (typeof value !== 'string' || value.trim() === '')) {
      return fail(where, `expected ${key} to be text that is not empty`)
    }
  }
  const { name, system, prefix } = entry as Partial<Record<'name' | 'system' | 'prefix', string>>
  if (system === undefined && prefix === undefined) return fail(where, 'expected system, prefix or both')
  return {
    origin: 'given',
    ...(name === undefined ? {} : { name }),
    ...(system === undefined ? {} : { system }),
    ...(prefix === undefined ? {} : { prefix }),
  }
}
