import { TraitscopeError } from '../../errors.js'

export interface SentencePiece {
  readonly text: string
  readonly score: number
  /** As the format numbers them: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  readonly type: number
}

const BPE = 2

/**
 * Reads the pieces of a sentencepiece model (tokenizer.model): a protocol buffer whose field 1 is a piece and whose
 * field 2, the trainer's settings, says in its field 3 what kind of model it is.
 *
 * @throws FILE_INVALID when the bytes are no such message, UNSUPPORTED when the model is not a BPE
 */
export function parseSentencePiece(bytes: Uint8Array, where: string): SentencePiece[] {
  const pieces: SentencePiece[] = []
  let kind = 1 // the format's default is a unigram model
  for (const { field, value } of new Message(bytes, where)) {
    if (field === 1) pieces.push(parsePiece(new Message(message(value, where), where)))
    if (field !== 2) continue
    for (const setting of new Message(message(value, where), where)) {
      if (setting.field === 3) kind = Number(setting.value)
    }
  }
  if (pieces.length === 0) throw invalid(where, 'it has no pieces')
  if (kind !== BPE) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected ${where} to be a BPE sentencepiece model, found another kind (${kind}); no supported family has one`,
    )
  }
  return pieces
}

function parsePiece(fields: Message): SentencePiece {
  let text = ''
  let score = 0
  let type = 1
  for (const { field, value } of fields) {
    if (field === 1) text = Buffer.from(message(value, fields.where)).toString('utf8')
    if (field === 2) score = float(message(value, fields.where), fields.where)
    if (field === 3) type = Number(value)
  }
  return { text, score, type }
}

function message(value: bigint | Uint8Array, where: string): Uint8Array {
  if (typeof value === 'bigint') throw invalid(where, 'a field has the wrong wire type')
  return value
}

function float(bytes: Uint8Array, where: string): number {
  if (bytes.length !== 4) throw invalid(where, 'a score does not have four bytes')
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true)
}

/** The fields of one protocol buffer message: varints as bigints, everything else as its bytes. */
class Message implements Iterable<{ field: number; value: bigint | Uint8Array }> {
  constructor(
    private readonly bytes: Uint8Array,
    readonly where: string,
  ) {}

  *[Symbol.iterator](): Iterator<{ field: number; value: bigint | Uint8Array }> {
    let at = 0
    const varint = (): bigint => {
      let value = 0n
      for (let shift = 0n; shift < 70n; shift += 7n) {
        const byte = this.bytes[at++]
        if (byte === undefined) break
        value |= BigInt(byte & 127) << shift
        if (byte < 128) return value
      }
      throw invalid(this.where, 'a number is cut short')
    }
    const take = (length: number): Uint8Array => {
      if (length > this.bytes.length - at) throw invalid(this.where, 'a field is cut short')
      at += length
      return this.bytes.subarray(at - length, at)
    }
    while (at < this.bytes.length) {
      const key = Number(varint())
      const field = Math.floor(key / 8)
      if (key % 8 === 0) yield { field, value: varint() }
      else if (key % 8 === 1) yield { field, value: take(8) }
      else if (key % 8 === 2) yield { field, value: take(Number(varint())) }
      else if (key % 8 === 5) yield { field, value: take(4) }
      else throw invalid(this.where, `wire type ${key % 8} does not exist`)
    }
  }
}

function invalid(where: string, problem: string): TraitscopeError {
  return new TraitscopeError('FILE_INVALID', `expected ${where} to be a sentencepiece model: ${problem}`)
}
