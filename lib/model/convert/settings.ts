import { TraitscopeError } from '../../errors.js'
import { isJsonObject } from '../../formats/json/json.js'
import { shown } from '../../formats/json/json-scan.js'

export type Json = Readonly<Record<string, unknown>>

/** What a key does not change, by its name: why. */
export type InertKeys = Readonly<Record<string, string>>

/**
 * The settings of a model folder, of which each must have a meaning: keys are marked as they are read, and what nothing
 * has read in the end must be known to be without effect.
 */
export class Settings {
  readonly #read = new Set<string>()
  readonly #children = new Map<string, Settings>()

  /** @param defaults values of keys that are not stated; a stated null is a value */
  constructor(
    private readonly json: Json,
    readonly where: string,
    private readonly defaults: Json = {},
    private readonly prefix = '',
  ) {}

  /** The stated value, null included, or the default. */
  get(key: string): unknown {
    this.#read.add(key)
    return Object.hasOwn(this.json, key) ? this.json[key] : this.defaults[key]
  }

  /** The stated object; undefined for anything else. */
  child(key: string, defaults: Json = {}): Settings | undefined {
    const value = Object.hasOwn(this.json, key) ? this.json[key] : undefined
    if (!isJsonObject(value)) return undefined
    this.#read.add(key)
    const child = this.#children.get(key) ?? new Settings(value, this.where, defaults, `${this.name(key)}.`)
    this.#children.set(key, child)
    return child
  }

  /** The key as messages and `--ignore-key` name it. */
  name(key: string): string {
    return `${this.prefix}${key}`
  }

  integer(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback
    const fits = Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32
    return fits ? (value as number) : this.fail(key, 'an integer that is not negative', value)
  }

  /** An integer from 1 up. */
  count(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback
    const fits = Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < 2 ** 32
    return fits ? (value as number) : this.fail(key, 'a positive integer', value)
  }

  number(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback
    return typeof value === 'number' && Number.isFinite(value) ? value : this.fail(key, 'a number', value)
  }

  positive(key: string, fallback?: number): number {
    const value = this.number(key, fallback)
    return value > 0 ? value : this.fail(key, 'a positive number', value)
  }

  /** True or false; null and an absent key are the fallback. */
  flag(key: string, fallback = false): boolean {
    const value = this.get(key) ?? fallback
    return typeof value === 'boolean' ? value : this.fail(key, 'true or false', value)
  }

  fail(key: string, expected: string, found: unknown = this.get(key)): never {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected in ${this.where} ${this.name(key)} to be ${expected}, found ${shown(found)}`,
    )
  }

  /** For a setting that is understood, and that the converted model could not follow. */
  refuse(key: string, why: string, found: unknown = this.get(key)): never {
    throw new TraitscopeError('UNSUPPORTED', `${this.where} has ${this.name(key)} ${shown(found)}, ${why}`)
  }

  /** Keys that nothing has read, with their names and values; those of children too. */
  unread(): { key: string; name: string; value: unknown }[] {
    const own = Object.entries(this.json)
      .filter(([key]) => !this.#read.has(key))
      .map(([key, value]) => ({ key, name: this.name(key), value }))
    return [...own, ...[...this.#children.values()].flatMap((child) => child.unread())]
  }
}

/** Keys that the user says are without effect (`--ignore-key`), and which of them were there. */
export class IgnoredKeys {
  readonly #used = new Set<string>()

  constructor(private readonly names: readonly string[] = []) {}

  take(name: string): boolean {
    if (!this.names.includes(name)) return false
    this.#used.add(name)
    return true
  }

  /** The keys that were met and ignored, sorted. */
  get used(): string[] {
    return [...this.#used].sort()
  }

  /** @throws USAGE for a name that was not needed: it is a slip, or hides one later */
  requireAllUsed(folder: string): void {
    const idle = this.names.filter((name) => !this.#used.has(name))
    if (idle.length === 0) return
    throw new TraitscopeError(
      'USAGE',
      `--ignore-key names ${idle.join(', ')}, which ${folder} does not have or which needs no ignoring; leave it out`,
    )
  }
}

/**
 * Refuses keys that nothing has read, unless their value says nothing (null, false, empty), they are known to be
 * without effect, or the user says so.
 *
 * @throws UNSUPPORTED with names and values
 */
export function refuseUnread(settings: Settings, inert: InertKeys, ignored: IgnoredKeys): void {
  const unknown = settings
    .unread()
    .filter(
      ({ key, name, value }) => !saysNothing(value) && !Object.hasOwn(inert, key) && !ignored.take(name),
    )
  if (unknown.length === 0) return
  const list = unknown.slice(0, 5).map(({ name, value }) => `${name} ${shown(value)}`)
  const more = unknown.length > 5 ? ` and ${unknown.length - 5} more` : ''
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${settings.where} has ${list.join(', ')}${more}, which no part of the converted model follows and which may change its numbers; if it does not, say so with ${unknown
      .slice(0, 5)
      .map(({ name }) => `--ignore-key ${name}`)
      .join(' ')}`,
  )
}

function saysNothing(value: unknown): boolean {
  if (value === null || value === false || value === '') return true
  return typeof value === 'object' && Object.keys(value).length === 0
}
