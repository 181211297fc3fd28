import { TraitscopeError } from '../../errors.js'
import { isJsonObject } from './json.js'
import { shown } from './json-scan.js'

export type Json = Record<string, unknown>

export const isText = (value: unknown): value is string => typeof value === 'string'
export const isIndex = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0
export const isFiniteNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value)
/** @param length how many; any number of them where that is left out */
export const isNumbers = (value: unknown, length?: number): value is number[] =>
  Array.isArray(value) && value.length === (length ?? value.length) && value.every(isFiniteNumber)
export const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText)

/** Typed access to the fields of one JSON object, with errors that name the path of the field. */
export class JsonFields {
  constructor(
    readonly json: Json,
    readonly where: string,
    private readonly prefix: string,
  ) {}

  text(key: string): string {
    const value = this.json[key]
    return isText(value) ? value : this.fail(key, 'a string')
  }

  count(key: string): number {
    const value = this.json[key]
    return isIndex(value) ? value : this.fail(key, 'a non-negative integer')
  }

  object(key: string): JsonFields {
    const value = this.json[key]
    return new JsonFields(
      isJsonObject(value) ? value : this.fail(key, 'an object'),
      this.where,
      `${this.prefix}${key}.`,
    )
  }

  list<T>(key: string, check: (value: unknown) => value is T, of: string): T[] {
    const value = this.json[key]
    return Array.isArray(value) && value.length > 0 && value.every(check)
      ? value
      : this.fail(key, `a list of ${of}`)
  }

  fail(key: string, expected: string): never {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected '${this.prefix}${key}' of ${this.where} to be ${expected}, found ${shown(this.json[key])}`,
    )
  }
}
