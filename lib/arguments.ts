/**
 * What callers pass, checked at the door. Types say it all to TypeScript; from JavaScript, or through a cast, a misspelt option
 * would do nothing, and a wrong kind of value would be an error of somebody's, deep inside, or a wrong number.
 */
import { resolve } from 'node:path'
import { types } from 'node:util'
import { TraitscopeError } from './errors.js'

/** Something that a function of ours makes, told by a field that it always has. */
export class Made<T extends object> {
  constructor(
    /** With its article and where it is from. */
    readonly what: string,
    readonly field: keyof T & string,
    /** Values and nothing else: a call works on its own copy. */
    readonly isData = false,
  ) {}
}

/** An option that there is no default for. */
export class Needed<K> {
  constructor(readonly kind: K) {}
}

/**
 * `any`: the call itself looks at it; `data`: that too, at a copy. `path`: a file or folder, wherever the process is moved to meanwhile; where false is one of its
 * values, that stays. A list of texts: the values that there are.
 */
type Kind =
  | 'boolean'
  | 'number'
  | 'string'
  | 'path'
  | 'function'
  | 'signal'
  | 'numbers'
  | 'strings'
  | 'list'
  | 'any'
  | 'data'
  | readonly string[]
  | Made<never>
  | Needed<unknown>
  | { readonly [name: string]: Kind }

// In brackets, so that a union is looked at as a whole; one of several kinds is `any`.
type KindOf<V> = [V] extends [boolean]
  ? 'boolean'
  : [V] extends [number]
    ? 'number'
    : [V] extends [string]
      ? string extends V
        ? 'string' | 'path'
        : readonly V[] | 'string'
      : [V] extends [(...args: never[]) => unknown]
        ? 'function'
        : [V] extends [AbortSignal]
          ? 'signal'
          : [V] extends [readonly number[]]
            ? 'numbers'
            : [V] extends [readonly string[]]
              ? 'strings'
              : [V] extends [readonly unknown[]]
                ? 'list'
                :
                    | 'any'
                    | 'data'
                    | ([V] extends [string | false] ? 'path' : never)
                    | (V extends object ? Made<V> | OptionKinds<V> : never)

/** Every option of a call with what it takes: one that the table lacks, or has as another kind, does not compile. */
export type OptionKinds<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? KindOf<Exclude<T[K], undefined>> : Needed<KindOf<T[K]>>
}

/**
 * The options of a call as they are now: what the caller does to the object or its lists afterwards changes nothing.
 *
 * @param call its name, for messages
 * @throws TraitscopeError USAGE for an option that the call does not have, and for a value of another kind
 */
export function takeOptions<T extends object>(call: string, given: T | undefined, kinds: OptionKinds<T>): T {
  return taken(call, given === undefined ? {} : given, kinds as unknown as Record<string, Kind>) as T
}

function taken(call: string, given: unknown, kinds: Readonly<Record<string, Kind>>): object {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw usage(`expected the options of ${call} as an object, found ${kindOf(given)}`)
  }
  const values = given as Readonly<Record<string, unknown>>
  const foreign = Object.keys(values).find(
    (name) => values[name] !== undefined && !Object.hasOwn(kinds, name),
  )
  if (foreign !== undefined) {
    throw usage(`expected options that ${call} has (${Object.keys(kinds).join(', ')}), found ${foreign}`)
  }
  const own: Record<string, unknown> = {}
  for (const [name, kind] of Object.entries(kinds)) {
    const isNeeded = kind instanceof Needed
    if (values[name] !== undefined)
      own[name] = one(call, name, values[name], isNeeded ? (kind.kind as Kind) : kind)
    else if (isNeeded) throw usage(`expected the option ${name} of ${call}, which has no default, found none`)
  }
  return own
}

function one(call: string, name: string, value: unknown, kind: Kind): unknown {
  const expect = (holds: boolean, what: string, found = kindOf(value)) => {
    if (!holds) throw usage(`expected ${name} of ${call} to be ${what}, found ${found}`)
    return value
  }
  if (kind instanceof Made) {
    expect(isMade(value, kind), kind.what)
    return kind.isData ? copyOf(`${name} of ${call}`, value) : value
  }
  if (isValues(kind)) return expect(kind.includes(value as string), kind.join(' or '))
  if (typeof kind === 'object')
    return taken(`${name} (${call})`, value, kind as Readonly<Record<string, Kind>>)
  switch (kind) {
    case 'any':
      return value
    case 'data':
      return copyOf(`${name} of ${call}`, value)
    case 'path':
      return value === false
        ? value
        : resolve(expect(typeof value === 'string' && value !== '', 'a path') as string)
    case 'signal':
      return expect(value instanceof AbortSignal, 'an AbortSignal')
    case 'number':
      return expect(typeof value === 'number' && !Number.isNaN(value), 'a number')
    case 'numbers':
    case 'strings':
    case 'list': {
      const of = kind === 'list' ? undefined : kind.slice(0, -1)
      const what = of === undefined ? 'a list' : `a list of ${kind}`
      const list = listOf(value) ?? []
      expect(listOf(value) !== undefined, what)
      const odd = of === undefined ? -1 : list.findIndex((entry) => typeof entry !== of)
      expect(odd < 0, what, `${kindOf(list[odd])} at ${odd}`)
      return list
    }
    default:
      return expect(typeof value === kind, `a ${kind}`)
  }
}

const isValues = (kind: Kind): kind is readonly string[] => Array.isArray(kind)

/** Of an array or a typed array; without holes, which loops would pass over. */
function listOf(value: unknown): unknown[] | undefined {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !types.isDataView(value))
    ? Array.from(value as ArrayLike<unknown>)
    : undefined
}

const isMade = (value: unknown, { field }: Made<never>): boolean =>
  typeof value === 'object' && value !== null && field in value

/** @throws TraitscopeError USAGE for something else, such as the path that it is read from */
export function checkMade<T extends object>(value: T, made: Made<T>): void {
  if (!isMade(value, made)) throw usage(`expected ${made.what}, found ${kindOf(value)}`)
}

/**
 * As an option of that kind is taken: what the caller does to data afterwards changes nothing.
 *
 * @throws TraitscopeError USAGE for something else
 */
export function takeMade<T extends object>(value: T, made: Made<T>): T {
  checkMade(value, made)
  return made.isData ? copyOf(made.what, value) : value
}

function copyOf<T>(what: string, value: T): T {
  try {
    return structuredClone(value)
  } catch (cause) {
    // A function or a Promise, which no data has.
    throw new TraitscopeError('USAGE', `expected ${what} to be data that can be copied: ${String(cause)}`, {
      cause,
    })
  }
}

/** @throws TraitscopeError USAGE for what is no array */
export function checkList(what: string, list: readonly unknown[]): void {
  if (!Array.isArray(list)) throw usage(`expected ${what} as a list, found ${kindOf(list)}`)
}

/** {@link checkMade} of each in a list. @throws TraitscopeError USAGE */
export function checkEach<T extends object>(what: string, list: readonly T[], made: Made<T>): void {
  checkList(what, list)
  for (const one of list) checkMade(one, made)
}

/** @throws USAGE for what is no integer from `least` to `most`. */
export function integerOption(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw usage(`${name} must be an integer from ${least} to ${most}, found ${value}`)
  }
  return value
}

/**
 * Lists of token ids, copied: what the caller does to them while a call waits for its turn changes nothing.
 *
 * @param what they are, in the plural
 * @throws TraitscopeError USAGE for anything but a list of Int32Arrays
 */
export function takeTokens(what: string, given: readonly Int32Array[]): Int32Array[] {
  const lists = listOf(given)
  if (!Array.isArray(given) || !lists) {
    throw usage(`expected ${what} as a list of Int32Arrays of token ids, found ${kindOf(given)}`)
  }
  return lists.map((tokens, i) => {
    if (types.isInt32Array(tokens)) return new Int32Array(tokens)
    throw usage(
      `expected ${what} as Int32Arrays of token ids, found ${kindOf(tokens)} at ${i}: make them with tokenize() or Int32Array.from()`,
    )
  })
}

/** As {@link takeTokens}, a list of them for each prompt. @throws TraitscopeError USAGE */
export function takeTokenLists(what: string, given: readonly (readonly Int32Array[])[]): Int32Array[][] {
  if (!Array.isArray(given)) throw usage(`expected ${what} as a list for each prompt, found ${kindOf(given)}`)
  return Array.from(given, (list, p) => takeTokens(`${what} of prompt ${p}`, list))
}

/** As {@link takeTokens}, of texts. @throws TraitscopeError USAGE */
export function takeTexts(what: string, given: readonly string[]): string[] {
  const texts = Array.isArray(given) ? Array.from(given as unknown[]) : undefined
  const foreign = texts?.findIndex((text) => typeof text !== 'string')
  if (texts && foreign === -1) return texts as string[]
  const found = texts ? `${kindOf(texts[foreign!])} at ${foreign}` : kindOf(given)
  throw usage(`expected ${what} as a list of texts, found ${found}`)
}

/** What a value is, for people. */
function kindOf(value: unknown): string {
  if (typeof value === 'string')
    return `the text ${JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value)}`
  if (value === null || typeof value !== 'object')
    return typeof value === 'function' ? 'a function' : String(value)
  if (types.isPromise(value)) return 'a Promise: await it'
  const { name = 'object' } = (value as { constructor?: { name?: string } }).constructor ?? {}
  return name === 'Object' ? 'an object' : `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}`
}

function usage(message: string): TraitscopeError {
  return new TraitscopeError('USAGE', message)
}
