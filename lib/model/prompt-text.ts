import { type GgufContents, GgufStrings } from '../formats/gguf/gguf.js'

/** Tokenizers that compose accents (Unicode NFC) before splitting; llama.cpp leaves that step out. */
const NFC_TOKENIZERS: ReadonlySet<string> = new Set(['qwen2'])

/** `token_type` of control tokens and of those that users added: a text that names them is split there first. */
const ADDED_TYPES: ReadonlySet<number> = new Set([3, 4])

/**
 * What a Hugging Face tokenizer does to a text and llama.cpp's does not, so that the same ids come out: composes accents,
 * drops white space beside tokens that swallow it, and puts a space before pieces that get one.
 *
 * Our converter writes down what a tokenizer needs; a file from elsewhere says nothing of it, but for its splitting rule.
 */
export class PromptText {
  readonly #composes: boolean
  /** `first`: before the text; `sections`: before every part between added tokens. Neither where a space is. */
  readonly #prefix: unknown
  readonly #added: RegExp | undefined
  readonly #strips: ReadonlyMap<string, { left: boolean; right: boolean }>

  constructor({ metadata }: Pick<GgufContents, 'metadata'>) {
    const pre = metadata.get('tokenizer.ggml.pre')
    this.#composes = typeof pre === 'string' && NFC_TOKENIZERS.has(pre)
    this.#prefix = metadata.get('traitscope.tokenizer.space_prefix')
    const tokens = metadata.get('tokenizer.ggml.tokens')
    const ids = (side: string) => {
      const list = metadata.get(`traitscope.tokenizer.${side}`)
      return new Set(ArrayBuffer.isView(list) ? Array.from(list as Int32Array) : [])
    }
    const [left, right] = [ids('lstrip'), ids('rstrip')]
    const needed = this.#prefix !== undefined || left.size > 0 || right.size > 0
    const added = needed && tokens instanceof GgufStrings ? addedTexts(tokens, metadata) : []
    this.#strips = new Map(
      added
        .filter(([id]) => left.has(id) || right.has(id))
        .map(([id, text]) => [text, { left: left.has(id), right: right.has(id) }]),
    )
    this.#added = needed && added.length > 0 ? anyOf(added.map(([, text]) => text)) : undefined
  }

  /** @param parseSpecial the text's special tokens are read as the tokens that they name */
  prepare(text: string, parseSpecial: boolean): string {
    const composed = this.#composes ? text.normalize('NFC') : text
    if (this.#prefix === undefined && this.#strips.size === 0) return composed
    // Odd places hold the added tokens.
    const parts = parseSpecial && this.#added ? composed.split(this.#added) : [composed]
    for (let i = 1; i < parts.length; i += 2) {
      const strips = this.#strips.get(parts[i]!)
      if (strips?.left) parts[i - 1] = parts[i - 1]!.replace(/\p{White_Space}+$/u, '')
      if (strips?.right) parts[i + 1] = parts[i + 1]!.replace(/^\p{White_Space}+/u, '')
    }
    for (let i = 0; i < parts.length; i += 2) {
      const wants = this.#prefix === 'sections' || (this.#prefix === 'first' && i === 0)
      if (wants && parts[i] !== '' && !/^[ ▁]/.test(parts[i]!)) parts[i] = ` ${parts[i]}`
    }
    return parts.join('')
  }
}

function addedTexts(
  tokens: GgufStrings,
  metadata: GgufContents['metadata'],
): (readonly [id: number, text: string])[] {
  const types = metadata.get('tokenizer.ggml.token_type')
  if (!ArrayBuffer.isView(types)) return []
  return Array.from(types as Int32Array, (type, id) => [type, id] as const)
    .filter(([type]) => ADDED_TYPES.has(type))
    .map(([, id]) => [id, tokens.at(id) ?? ''] as const)
    .filter(([, text]) => text !== '')
}

/** One group, the longest text first, as the tokenizer prefers it. */
function anyOf(texts: readonly string[]): RegExp {
  const longestFirst = [...texts].sort((a, b) => b.length - a.length)
  return new RegExp(
    `(${longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|')})`,
    'u',
  )
}
