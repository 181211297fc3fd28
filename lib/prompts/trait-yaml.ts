import { LineCounter, parse, parseDocument, type Scalar, visit } from 'yaml'
import { TraitscopeError } from '../errors.js'
import { fail } from '../formats/files/text-file.js'
import { isJsonObject } from '../formats/json/json.js'
import type { Json } from '../formats/json/json-fields.js'

/** A file's YAML as an object with these keys and no others; FILE_INVALID names `where`. */
export function yamlObject(text: string, where: string, keys: readonly string[]): Json {
  return objectWith(parseYaml(text, where), where, keys)
}

/** FILE_INVALID names `where`. */
export function parseYaml(text: string, where: string): unknown {
  let value: unknown
  try {
    value = parse(text, { maxAliasCount: 100 })
  } catch (error) {
    const [reason] = (error as Error).message.split(/:?\n/) // the rest quotes the file
    throw new TraitscopeError('FILE_INVALID', `${where} is not readable as YAML: ${reason}`, { cause: error })
  }
  const lines = new LineCounter()
  visit(parseDocument(text, { lineCounter: lines }), {
    Scalar(_, node) {
      const cut = cutOff(node)
      if (cut !== undefined) fail(`${where}, line ${lines.linePos(node.range?.[0] ?? 0).line}`, cut)
    },
  })
  return value
}

/** What is wrong with a text that YAML ends early, because " #" begins a comment: `You are the #1 assistant` is `You are the`. */
export function cutOff({ type, value, comment }: Scalar): string | undefined {
  if (type !== 'PLAIN' || typeof value !== 'string' || !/^[^\s#]/.test(comment ?? '')) return undefined
  return `${JSON.stringify(`#${comment}`)} behind a text begins a comment in YAML, and would be left out; put the text in quotes, or a space behind # where it is a comment`
}

/** The value as an object with some of these keys and no others. */
export function objectWith(value: unknown, where: string, keys: readonly string[]): Json {
  if (!isJsonObject(value)) return fail(where, `expected the keys ${keys.join(', ')}`)
  const unknown = Object.keys(value).find((key) => !keys.includes(key))
  if (unknown !== undefined)
    fail(where, `expected the keys ${keys.join(', ')}, found ${JSON.stringify(unknown)}`)
  return value
}

/** What stands under `traits`: at least one name with something under it. */
export function traitEntries({ traits }: Json, where: string): [string, unknown][] {
  const entries = isJsonObject(traits) ? Object.entries(traits) : []
  return entries.length > 0 ? entries : fail(where, 'expected at least one trait under traits')
}

export function filledText(value: unknown, where: string): string {
  return typeof value === 'string' && value.trim() !== ''
    ? value
    : fail(where, 'expected text that is not empty')
}

export function filledTexts(value: unknown, where: string): string[] {
  if (!Array.isArray(value) || value.length === 0) return fail(where, 'expected a list with entries')
  return value.map((entry, i) => filledText(entry, `${where}, entry ${i + 1}`))
}
