import { TraitscopeError } from '../../errors.js'

/** Objects become Maps, so no key (`__proto__`) is special and the order in the file is kept. */
export type JsonMap = Map<string, JsonNode>
export type JsonNode = string | number | boolean | null | JsonNode[] | JsonMap

export interface JsonRules {
  /** Names the file in errors. */
  where: string
  /** `reject` is for formats that forbid repeated keys; `last` is what Python's and JavaScript's parsers do. */
  duplicateKeys: 'reject' | 'last'
  /** `unsigned` accepts only non-negative integers up to 2^53 - 1 written without sign, fraction or exponent. */
  numbers: 'any' | 'unsigned'
  /** Accept bare NaN, Infinity and -Infinity, which Python's json module writes. */
  nonFinite: boolean
  maxDepth?: number
}

// The end of a plain stretch: a quote, a backslash, or a control character (everything below the space).
const STRING_END_OR_ESCAPE = /["\\]|[^ -\uffff]/g
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const UNSIGNED = /^(?:0|[1-9]\d*)$/
const WHITESPACE = /[ \t\n\r]*/y
const NON_FINITE = /NaN|-?Infinity/y
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

/**
 * A JSON parser for what JSON.parse cannot do: see repeated keys, insist on integers, accept Python's NaN.
 *
 * @throws FILE_INVALID with the offset of the first violation.
 */
export function scanJson(text: string, rules: JsonRules): JsonNode {
  const scanner = new Scanner(text, rules)
  const value = scanner.value(0)
  scanner.end()
  return value
}

class Scanner {
  private at = 0

  constructor(
    private readonly text: string,
    private readonly rules: JsonRules,
  ) {}

  value(depth: number): JsonNode {
    if (depth > (this.rules.maxDepth ?? 64)) this.fail('nesting is too deep')
    this.space()
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth)
      case '[':
        return this.array(depth)
      case '"':
        return this.string()
      case 't':
        return this.word('true', true)
      case 'f':
        return this.word('false', false)
      case 'n':
        return this.word('null', null)
      case undefined:
        return this.fail('the text ends where a value is expected')
      default:
        return this.number()
    }
  }

  end(): void {
    this.space()
    if (this.at < this.text.length) this.fail('found text after the value')
  }

  private object(depth: number): JsonMap {
    const map: JsonMap = new Map()
    this.at++
    this.space()
    if (this.take('}')) return map
    for (;;) {
      this.space()
      if (this.text[this.at] !== '"') this.fail('expected a quoted key')
      const keyAt = this.at
      const key = this.string()
      if (this.rules.duplicateKeys === 'reject' && map.has(key)) {
        this.fail(`the key ${quoted(key)} appears twice`, keyAt)
      }
      this.space()
      if (!this.take(':')) this.fail('expected ":" after a key')
      map.set(key, this.value(depth + 1))
      this.space()
      if (this.take('}')) return map
      if (!this.take(',')) this.fail('expected "," or "}"')
    }
  }

  private array(depth: number): JsonNode[] {
    const items: JsonNode[] = []
    this.at++
    this.space()
    if (this.take(']')) return items
    for (;;) {
      items.push(this.value(depth + 1))
      this.space()
      if (this.take(']')) return items
      if (!this.take(',')) this.fail('expected "," or "]"')
    }
  }

  private string(): string {
    let result = ''
    let start = ++this.at
    for (;;) {
      STRING_END_OR_ESCAPE.lastIndex = this.at
      const hit = STRING_END_OR_ESCAPE.exec(this.text)
      if (!hit) return this.fail('a string is not closed')
      result += this.text.slice(start, hit.index)
      this.at = hit.index + 1
      if (hit[0] === '"') return result
      if (hit[0] !== '\\') return this.fail('a string holds a raw control character', hit.index)
      result += this.escape()
      start = this.at
    }
  }

  private escape(): string {
    const letter = this.text[this.at++] ?? ''
    if (letter !== 'u') return ESCAPES[letter] ?? this.fail('unknown escape in a string', this.at - 2)
    const first = this.hex4()
    if (first < 0xd800 || first > 0xdfff) return String.fromCharCode(first)
    const paired = first < 0xdc00 && this.text.startsWith('\\u', this.at)
    if (paired) this.at += 2
    const second = paired ? this.hex4() : 0
    if (second < 0xdc00 || second > 0xdfff) this.fail('a string holds half a surrogate pair')
    return String.fromCharCode(first, second)
  }

  private hex4(): number {
    const digits = this.text.slice(this.at, this.at + 4)
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail('expected four hex digits after \\u')
    this.at += 4
    return Number.parseInt(digits, 16)
  }

  private number(): number {
    if (this.rules.nonFinite) {
      const word = this.match(NON_FINITE)
      if (word !== '') return Number(word)
    }
    const start = this.at
    const digits = this.match(NUMBER)
    if (digits === '') this.fail('expected a value')
    const value = Number(digits)
    if (this.rules.numbers === 'unsigned' && !(UNSIGNED.test(digits) && Number.isSafeInteger(value))) {
      this.fail(`expected an integer from 0 to 2^53 - 1, found ${digits.slice(0, 40)}`, start)
    }
    return value
  }

  private word<T extends boolean | null>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) this.fail('expected a value')
    this.at += word.length
    return value
  }

  private space(): void {
    this.match(WHITESPACE)
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)?.[0] ?? ''
    this.at += found.length
    return found
  }

  private take(character: string): boolean {
    if (this.text[this.at] !== character) return false
    this.at++
    return true
  }

  private fail(problem: string, at = this.at): never {
    throw new TraitscopeError(
      'FILE_INVALID',
      `${this.rules.where} is not valid JSON: ${problem} (offset ${at})`,
    )
  }
}

/** A name from a file, shortened and escaped for an error message. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 117)}...` : name)
}

/** A value from a file for an error message. JSON has no NaN of its own, so numbers are printed as they are. */
export function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : (JSON.stringify(value)?.slice(0, 80) ?? 'nothing')
}
