import { TraitscopeError } from '../../errors.js'
import type { SentencePiece } from '../../formats/hf/sentencepiece.js'
import { isJsonObject } from '../../formats/json/json.js'

type Json = Readonly<Record<string, unknown>>

/** A vocabulary as a GGUF holds it; `scores` for sentencepiece only. */
export interface Vocabulary {
  tokens: string[]
  types: Int32Array
  scores?: Float32Array
}

/** `token_type` of a GGUF. */
const NORMAL = 1
const CONTROL = 3
const USER_DEFINED = 4
const UNUSED = 5

/** A token that a tokenizer adds to those of its model. */
export interface AddedToken {
  id: number
  content: string
  special: boolean
  /** Its text is matched in the normalized text, not as it is. */
  normalized: boolean
  /** It swallows the white space before it, or behind it. */
  lstrip: boolean
  rstrip: boolean
}

/** `added_tokens` of tokenizer.json, or `added_tokens_decoder` of tokenizer_config.json. */
export function addedTokens(list: unknown): AddedToken[] {
  const entries = Array.isArray(list)
    ? list.map((entry: unknown) => [isJsonObject(entry) ? entry.id : undefined, entry])
    : Object.entries(isJsonObject(list) ? list : {})
  return entries.flatMap(([key, entry]) => {
    const id = Number(key)
    if (!isJsonObject(entry) || typeof entry.content !== 'string' || !Number.isSafeInteger(id) || id < 0)
      return []
    const { content, special, normalized, lstrip, rstrip } = entry
    return [
      {
        id,
        content,
        special: special === true,
        normalized: normalized === true,
        lstrip: lstrip === true,
        rstrip: rstrip === true,
      },
    ]
  })
}

/**
 * The vocabulary of a byte-level BPE, of `size` tokens: names without a token are placeholders.
 *
 * @param size rows of the embedding
 * @throws FILE_INVALID when it has a token beyond the embedding or none at all
 */
export function byteLevelVocabulary(tokenizer: Json, size: number, where: string): Vocabulary {
  const model = isJsonObject(tokenizer.model) ? tokenizer.model : {}
  const { tokens, types } = placeholders(size)
  for (const [text, id] of Object.entries(isJsonObject(model.vocab) ? model.vocab : {})) {
    place(tokens, id, text, where)
    types[id as number] = NORMAL
  }
  for (const { id, content, special, normalized } of addedTokens(tokenizer.added_tokens)) {
    const text = normalized ? content : decodeBytes(content)
    const control = special || looksSpecial(text)
    place(tokens, id, control ? text : text.replaceAll('▁', ' '), where)
    types[id] = control ? CONTROL : USER_DEFINED
  }
  return { tokens, types }
}

/**
 * The vocabulary of a sentencepiece model, with the tokens that the Hugging Face tokenizer adds or renames.
 *
 * @param size rows of the embedding
 * @param literal take added tokens as they are written: Phi-3's converter does
 */
export function sentencePieceVocabulary(
  pieces: readonly SentencePiece[],
  added: readonly AddedToken[],
  plain: Json,
  options: { size: number; literal: boolean },
): Vocabulary {
  const { size, literal } = options
  const { tokens, types } = placeholders(size)
  const scores = new Float32Array(size).fill(-10_000)
  for (const [id, { text, score, type }] of pieces.slice(0, size).entries()) {
    tokens[id] = text
    scores[id] = score
    // The symbols that the model matches first are normal here; the tokenizer's own list says which are added.
    types[id] = type === USER_DEFINED ? NORMAL : type
  }
  const add = (id: number, text: string, type: number) => {
    if (id >= size) return
    tokens[id] = text
    scores[id] = -1000
    types[id] = type
  }
  for (const [text, id] of Object.entries(plain)) {
    if (Number.isSafeInteger(id) && (id as number) >= 0) add(id as number, text, USER_DEFINED)
  }
  for (const { id, content, special } of added) {
    if (special || (!literal && looksSpecial(content))) add(id, content, CONTROL)
    else add(id, literal ? content : content.replaceAll('▁', ' '), USER_DEFINED)
  }
  return { tokens, types, scores }
}

/** `merges` of tokenizer.json as a GGUF has them: two parts with a space between. */
export function mergeList(tokenizer: Json, where: string): string[] {
  const merges = isJsonObject(tokenizer.model) ? tokenizer.model.merges : undefined
  const texts = Array.isArray(merges) ? merges.map(mergeText) : []
  if (texts.length > 0 && texts.every((text) => text !== undefined)) return texts
  throw new TraitscopeError('FILE_INVALID', `expected ${where} to hold merges, found none or other values`)
}

/** A space inside a part would be read as the one between the parts; the converter writes U+0120 for it. */
function mergeText(merge: unknown): string | undefined {
  if (typeof merge === 'string') return merge
  if (!Array.isArray(merge) || merge.length !== 2 || !merge.every((part) => typeof part === 'string'))
    return undefined
  return merge.map((part: string) => part.replaceAll(' ', 'Ġ')).join(' ')
}

function placeholders(size: number): { tokens: string[]; types: Int32Array } {
  return {
    tokens: Array.from({ length: size }, (_, id) => `[PAD${id}]`),
    types: new Int32Array(size).fill(UNUSED),
  }
}

function place(tokens: string[], id: unknown, text: string, where: string): void {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < tokens.length) tokens[id] = text
  else {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected the tokens of ${where} to be below vocab_size ${tokens.length}, found ${id}; the tokenizer belongs to another model`,
    )
  }
}

/** Tokens that control a conversation although their files do not say so. */
function looksSpecial(text: string): boolean {
  return /^(<pad>|<mask>|<2mass>|\[@BOS@\]|<\|.*\|>|<｜.*｜>|<unused.*>)$/s.test(text)
}

let byteOf: ReadonlyMap<string, number> | undefined

/** Text of a token whose characters stand for bytes; a text with any other character stands for itself. */
function decodeBytes(text: string): string {
  byteOf ??= byteAlphabet()
  const bytes = [...text].map((character) => byteOf!.get(character))
  return bytes.includes(undefined) ? text : Buffer.from(bytes as number[]).toString('utf8')
}

/** GPT-2's alphabet: printable Latin-1 characters are their own bytes, the other bytes follow from U+0100 on. */
function byteAlphabet(): Map<string, number> {
  const alphabet = new Map<string, number>()
  let next = 0x100
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
    alphabet.set(String.fromCodePoint(printable ? byte : next++), byte)
  }
  return alphabet
}
