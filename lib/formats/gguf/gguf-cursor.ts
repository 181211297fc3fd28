import { TraitscopeError } from '../../errors.js'

/** Where header bytes come from: a file, or memory. */
export interface GgufSource {
  readonly size: number
  /** Fills `target` from `position`; returns the bytes read. */
  read(target: Uint8Array, position: number): Promise<number>
}

/** A header holds names and a vocabulary: tens of MB at most. Also the longest string or array that is read. */
const MAX_HEADER_BYTES = 256 * 1024 ** 2
const FIRST_READ = 1024 ** 2
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads a GGUF header front to back, fetching the file in growing pieces. `need(n)` makes the next n bytes available;
 * the readers below it are synchronous, so that a large array costs one await and not one per element.
 */
export class GgufCursor {
  private bytes: Buffer = Buffer.alloc(0)
  private at = 0

  constructor(
    private readonly source: GgufSource,
    readonly where: string,
  ) {}

  get position(): number {
    return this.at
  }

  /** Bytes of the file after the cursor. */
  get remaining(): number {
    return this.source.size - this.at
  }

  has(count: number): boolean {
    return this.at + count <= this.bytes.length
  }

  /** @throws FILE_INCOMPLETE when the file ends first; `what` says what was being read. */
  async need(count: number, what: string): Promise<void> {
    if (this.has(count)) return
    const end = this.at + count
    if (end > this.source.size) {
      throw this.incomplete(`${what} needs ${count} bytes at offset ${this.at}, found ${this.remaining}`)
    }
    if (end > MAX_HEADER_BYTES) throw this.invalid(`the header is larger than ${MAX_HEADER_BYTES} bytes`)
    const goal = Math.max(end, FIRST_READ, this.bytes.length * 2)
    const grown = Buffer.alloc(Math.min(goal, this.source.size, MAX_HEADER_BYTES))
    this.bytes.copy(grown)
    const wanted = grown.subarray(this.bytes.length)
    const read = await this.source.read(wanted, this.bytes.length)
    if (read < wanted.length) throw this.incomplete(`the file ended at byte ${this.bytes.length + read}`)
    this.bytes = grown
  }

  u8(): number {
    return this.bytes.readUInt8(this.advance(1))
  }

  i8(): number {
    return this.bytes.readInt8(this.advance(1))
  }

  u16(): number {
    return this.bytes.readUInt16LE(this.advance(2))
  }

  i16(): number {
    return this.bytes.readInt16LE(this.advance(2))
  }

  u32(): number {
    return this.bytes.readUInt32LE(this.advance(4))
  }

  i32(): number {
    return this.bytes.readInt32LE(this.advance(4))
  }

  f32(): number {
    return this.bytes.readFloatLE(this.advance(4))
  }

  f64(): number {
    return this.bytes.readDoubleLE(this.advance(8))
  }

  u64(): bigint {
    return this.bytes.readBigUInt64LE(this.advance(8))
  }

  i64(): bigint {
    return this.bytes.readBigInt64LE(this.advance(8))
  }

  /** A u64 that is far below 2^53 in every sound file: a length, a count, an offset. Too large reads as Infinity. */
  size(): number {
    const at = this.advance(8)
    const high = this.bytes.readUInt32LE(at + 4)
    return high > 0x1f_ffff ? Number.POSITIVE_INFINITY : high * 2 ** 32 + this.bytes.readUInt32LE(at)
  }

  /** The next bytes, valid for as long as anyone holds them. */
  take(count: number): Buffer {
    const start = this.advance(count)
    return this.bytes.subarray(start, start + count)
  }

  /** A u64 length and that many bytes of UTF-8. */
  async string(what: string, maxBytes: number): Promise<string> {
    await this.need(8, what)
    const length = this.size()
    if (length > maxBytes) throw this.invalid(`${what} has ${length} bytes, more than ${maxBytes}`)
    await this.need(length, what)
    const bytes = this.take(length)
    try {
      return DECODER.decode(bytes)
    } catch {
      throw this.invalid(`${what} is not UTF-8`)
    }
  }

  /** Skips `count` strings; returns their bytes and where each ends in them. */
  async strings(count: number, what: string): Promise<{ bytes: Buffer; ends: Uint32Array }> {
    const start = this.at
    const ends = new Uint32Array(count)
    for (let i = 0; i < count; i++) {
      if (!this.has(8)) await this.need(8, what)
      const length = this.size()
      if (!this.has(length)) await this.need(length, what)
      this.at += length
      ends[i] = this.at - start
    }
    return { bytes: this.bytes.subarray(start, this.at), ends }
  }

  invalid(problem: string): TraitscopeError {
    return new TraitscopeError('FILE_INVALID', `${this.where} is not a valid GGUF file: ${problem}`)
  }

  incomplete(problem: string): TraitscopeError {
    return new TraitscopeError(
      'FILE_INCOMPLETE',
      `${this.where} is cut short: ${problem}; download or copy it again`,
    )
  }

  private advance(count: number): number {
    const start = this.at
    this.at += count
    return start
  }
}
