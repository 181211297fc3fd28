import { TraitscopeError } from '../../errors.js'
import { type GgufFile, GgufStrings } from '../../formats/gguf/gguf.js'

/** A base's metadata by the names below its architecture, and errors that name the file. */
export class BaseMetadata {
  constructor(
    readonly gguf: GgufFile,
    readonly architecture: string,
  ) {}

  /** An integer from 0 up; undefined when the key is absent. */
  integer(key: string): number | undefined {
    const value = this.gguf.metadata.get(`${this.architecture}.${key}`)
    if (value === undefined) return undefined
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
    return this.refuse(key, 'an integer that is not negative')
  }

  /** A finite number; undefined when the key is absent. */
  number(key: string): number | undefined {
    const value = this.gguf.metadata.get(`${this.architecture}.${key}`)
    if (value === undefined) return undefined
    if (typeof value === 'number' && Number.isFinite(value)) return value
    return this.refuse(key, 'a finite number')
  }

  /** One integer for every block, given once or as a list; undefined when the key is absent. */
  perBlock(key: string): number[] | undefined {
    const value = this.gguf.metadata.get(`${this.architecture}.${key}`)
    if (value === undefined) return undefined
    const blocks = this.integer('block_count') ?? 0
    if (typeof value !== 'object') return new Array<number>(blocks).fill(this.integer(key)!)
    const list = value instanceof GgufStrings ? [] : Array.from(value as Iterable<number | bigint>, Number)
    const fits = list.length === blocks && list.every((entry) => Number.isSafeInteger(entry) && entry >= 0)
    return fits ? list : this.refuse(key, `one integer per block, ${blocks} in all`)
  }

  refuse(key: string, expected: string): never {
    const value = this.gguf.metadata.get(`${this.architecture}.${key}`)
    const found =
      typeof value === 'object' ? `a list of ${value.length}` : String(value ?? 'nothing').slice(0, 80)
    return this.fail(`${this.architecture}.${key} to be ${expected}, found ${found}`)
  }

  fail(expectation: string): never {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected in ${this.gguf.path} ${expectation}; convert the model again`,
    )
  }
}
