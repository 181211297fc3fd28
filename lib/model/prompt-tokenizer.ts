import type { NativeModel, NativeModelInfo } from '../binding.js'
import { TraitscopeError } from '../errors.js'
import { type GgufContents, GgufStrings } from '../formats/gguf/gguf.js'
import { shown } from '../formats/json/json-scan.js'

/** Tokenizers that compose accents (Unicode NFC) before splitting; llama.cpp leaves that step out. */
const NFC_TOKENIZERS: ReadonlySet<string> = new Set(['qwen2'])

/** A surrogate without its other half, which is no character. */
const HALF_PAIR = /\p{Surrogate}/u

/** `token_type` of an ordinary token. */
const NORMAL = 1
/** `token_type` of the unknown token, control tokens and those that users added: a text is split at them first. */
const ADDED_TYPES: ReadonlySet<number> = new Set([2, 3, 4])

/**
 * Tokens that llama.cpp takes for control tokens by their text, whatever the file says of them. In Qwen's vocabulary `</s>`
 * is an ordinary one: a text that ends a strike-through with it would be cut there.
 */
export const PROMOTED_TOKENS: readonly string[] = [
  ...['</s>', '<EOT>', '<MID>', '<PAD>', '<PRE>', '<REPO>', '<SUF>', '<end_of_turn>', '<end_of_utterance>'],
  ...['<eos>', '<fim-middle>', '<fim-pad>', '<fim-prefix>', '<fim-repo>', '<fim-suffix>', '<fim_middle>'],
  ...['<fim_pad>', '<fim_prefix>', '<fim_suffix>', '<reponame>', '<turn|>', '<|calls|>', '<|call|>'],
  ...['<|channel|>', '<|code_middle|>', '<|code_prefix|>', '<|code_suffix|>', '<|constrain|>'],
  ...['<|end_of_text|>', '<|endoftext|>', '<|end|>', '<|eom_id|>', '<|eot_id|>', '<|file_sep|>'],
  ...['<|fim_middle|>', '<|fim_pad|>', '<|fim_prefix|>', '<|fim_repo|>', '<|fim_suffix|>', '<|flush|>'],
  ...['<|im_end|>', '<|message|>', '<|middle|>', '<|prefix|>', '<|repo_name|>', '<|return|>', '<|start|>'],
  ...['<|suffix|>', '<|tool_response>', '<｜end▁of▁sentence｜>', '<｜fim▁begin｜>', '<｜fim▁end｜>'],
  ...['<｜fim▁hole｜>', '[EOS]', '[EOT]', '[PAD]', '[e~[', '_<EOT>', '▁<MID>', '▁<PRE>', '▁<SUF>'],
]

/**
 * llama.cpp's tokenizer, and what a Hugging Face one does that it does not: composes accents, drops white space beside
 * tokens that swallow it, puts a space before parts that get one, and takes no ordinary token for a control token.
 *
 * Our converter writes down what a tokenizer needs; a file from elsewhere tells its splitting rule and token types.
 */
export class PromptTokenizer {
  readonly #composes: boolean
  /** `first`: before the text; `sections`: before every part between added tokens. Neither where a space is. */
  readonly #prefix: unknown
  /** Splits a text at added tokens, which come to stand at odd places. */
  readonly #added: RegExp | undefined
  readonly #ids: ReadonlyMap<string, number>
  readonly #strips: ReadonlyMap<string, { left: boolean; right: boolean }>
  readonly #promoted: RegExp | undefined

  constructor({ metadata }: Pick<GgufContents, 'metadata'>) {
    const pre = metadata.get('tokenizer.ggml.pre')
    this.#composes = typeof pre === 'string' && NFC_TOKENIZERS.has(pre)
    this.#prefix = metadata.get('traitscope.tokenizer.space_prefix')
    const ids = (side: string) => {
      const list = metadata.get(`traitscope.tokenizer.${side}`)
      return new Set(ArrayBuffer.isView(list) ? Array.from(list as Int32Array) : [])
    }
    const [left, right] = [ids('lstrip'), ids('rstrip')]
    const promoted = metadata.get('tokenizer.ggml.model') === 'gpt2' ? promotedTexts(metadata) : []
    const needed = this.#prefix !== undefined || left.size + right.size + promoted.length > 0
    const added = needed ? textsOfTypes(metadata, ADDED_TYPES) : []
    this.#ids = new Map(added.map(([id, text]) => [text, id]))
    this.#strips = new Map(
      added
        .filter(([id]) => left.has(id) || right.has(id))
        .map(([id, text]) => [text, { left: left.has(id), right: right.has(id) }]),
    )
    this.#added = added.length > 0 ? anyOf(added.map(([, text]) => text)) : undefined
    this.#promoted = promoted.length > 0 ? anyOf(promoted) : undefined
  }

  /** Token ids of each text; see `Model.tokenize`. */
  async tokenize(
    native: Pick<NativeModel, 'tokenize'>,
    info: Pick<NativeModelInfo, 'addBos' | 'addEos' | 'bos' | 'eos'>,
    texts: readonly string[],
    { addSpecial, parseSpecial }: { addSpecial: boolean; parseSpecial: boolean },
  ): Promise<Int32Array[]> {
    const broken = texts.find((text) => HALF_PAIR.test(text))
    if (broken !== undefined) {
      throw new TraitscopeError(
        'USAGE',
        `expected Unicode text, found half a surrogate pair in ${shown(broken)}, which no tokenizer could read as it stands`,
      )
    }
    const prepared = texts.map((text) => this.#prepare(text, parseSpecial))
    const misread = prepared.map((text) => parseSpecial && this.#promoted?.test(text))
    const whole = await listsOf(
      native,
      prepared.filter((_, i) => !misread[i]),
      addSpecial,
      parseSpecial,
    )
    const split = prepared.filter((_, i) => misread[i]).map((text) => this.#parts(text))
    const plain = await listsOf(native, split.flatMap(plainOf), false, false)
    let [nextWhole, nextPlain] = [0, 0]
    const ends = (token: { id: number } | undefined, wanted: boolean) =>
      addSpecial && wanted && token ? [token.id] : []
    let nextSplit = 0
    return misread.map((isMisread) => {
      if (!isMisread) return whole[nextWhole++]!
      const parts = split[nextSplit++]!
      const ids = parts.flatMap((part, i) =>
        i % 2 === 1 ? [this.#ids.get(part)!] : [...plain[nextPlain++]!],
      )
      return Int32Array.from([...ends(info.bos, info.addBos), ...ids, ...ends(info.eos, info.addEos)])
    })
  }

  #parts(text: string): string[] {
    return this.#added ? text.split(this.#added) : [text]
  }

  #prepare(text: string, parseSpecial: boolean): string {
    const composed = this.#composes ? text.normalize('NFC') : text
    if (this.#prefix === undefined && this.#strips.size === 0) return composed
    const parts = parseSpecial ? this.#parts(composed) : [composed]
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

const plainOf = (parts: readonly string[]): string[] => parts.filter((_, i) => i % 2 === 0)

async function listsOf(
  native: Pick<NativeModel, 'tokenize'>,
  texts: readonly string[],
  addSpecial: boolean,
  parseSpecial: boolean,
): Promise<Int32Array[]> {
  if (texts.length === 0) return []
  const { ids, offsets } = await native.tokenize(texts, addSpecial, parseSpecial)
  return texts.map((_, i) => ids.slice(offsets[i], offsets[i + 1]))
}

function promotedTexts(metadata: GgufContents['metadata']): string[] {
  const promoted = new Set(PROMOTED_TOKENS)
  return textsOfTypes(metadata, new Set([NORMAL]), promoted).map(([, text]) => text)
}

function textsOfTypes(
  metadata: GgufContents['metadata'],
  wanted: ReadonlySet<number>,
  among?: ReadonlySet<string>,
): (readonly [id: number, text: string])[] {
  const types = metadata.get('tokenizer.ggml.token_type')
  const tokens = metadata.get('tokenizer.ggml.tokens')
  if (!ArrayBuffer.isView(types) || !(tokens instanceof GgufStrings)) return []
  const found: [number, string][] = []
  for (const [id, type] of (types as Int32Array).entries()) {
    if (!wanted.has(type)) continue
    const text = tokens.at(id) ?? ''
    if (text !== '' && (!among || among.has(text))) found.push([id, text])
  }
  return found
}

/** One group, the longest text first, as the tokenizer prefers it. */
function anyOf(texts: readonly string[]): RegExp {
  const longestFirst = [...texts].sort((a, b) => b.length - a.length)
  const escaped = longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'))
  return new RegExp(`(${escaped.join('|')})`, 'u')
}
