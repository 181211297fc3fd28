import { join } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { ifThere } from '../../formats/files/file-errors.js'
import { readWhole } from '../../formats/files/read-whole.js'
import type { GgufInput } from '../../formats/gguf/gguf.js'
import { parseSentencePiece } from '../../formats/hf/sentencepiece.js'
import { isJsonObject } from '../../formats/json/json.js'
import { shown } from '../../formats/json/json-scan.js'
import { chatTemplates } from './hf-chat-template.js'
import { endRemarks } from './hf-end-tokens.js'
import {
  type AddedToken,
  addedTokens,
  byteLevelVocabulary,
  mergeList,
  sentencePieceVocabulary,
  type Vocabulary,
} from './hf-vocabulary.js'
import { readOptional } from './optional-json.js'
import { preTokenizerName } from './pre-tokenizers.js'
import { type IgnoredKeys, type Json, refuseUnread, Settings } from './settings.js'
import {
  checkTokenizerKeys,
  INERT_TOKENIZER_KEYS,
  piecePrefix,
  type SpacePrefix,
  type TemplateEnds,
  templateEnds,
} from './tokenizer-parts.js'

type Metadata = GgufInput['metadata'][number][]

const TOKENIZER = 'tokenizer.json'
const SENTENCEPIECE = 'tokenizer.model'
/** Far above the largest vocabularies of the supported families. */
const MAX_TOKENS = 2 ** 24

/** Special tokens: our word, GGUF's key. */
const ROLES: readonly (readonly [role: string, key: string])[] = [
  ['bos', 'bos_token_id'],
  ['eos', 'eos_token_id'],
  ['unk', 'unknown_token_id'],
  ['pad', 'padding_token_id'],
]

/** What decides how a family's tokenizer is read. */
export interface TokenizerOptions {
  architecture: string
  /** Rows of the embedding. */
  size: number
  /** The id that the model's config.json gives to a special token, if it names one. */
  tokenId: (role: string) => unknown
  /** llama.cpp's name of the splitting rule; default: recognised. */
  pre?: string | undefined
  ignored: IgnoredKeys
}

/** A tokenizer as GGUF metadata. */
export interface ConvertedTokenizer {
  metadata: Metadata
  /** `tokenizer.ggml.pre`. */
  pre: string
  /** Texts of the vocabulary, by id. */
  tokens: readonly string[]
  remarks: string[]
}

/**
 * The tokenizer of a Hugging Face folder as GGUF metadata: byte-level BPE from tokenizer.json, sentencepiece from
 * tokenizer.model.
 *
 * @throws UNSUPPORTED for other kinds and unknown splitting rules, and by name for settings that llama.cpp's tokenizer
 * does not follow; USAGE for a rule that has no place here; FILE_NOT_FOUND, FILE_INVALID
 */
export async function convertTokenizer(
  folder: string,
  options: TokenizerOptions,
): Promise<ConvertedTokenizer> {
  const where = join(folder, TOKENIZER)
  const configPath = join(folder, 'tokenizer_config.json')
  const [tokenizer, configJson, plain] = await Promise.all([
    readOptional(where),
    readOptional(configPath),
    readOptional(join(folder, 'added_tokens.json')),
  ])
  const config = new Settings(await withSpecialTokens(folder, configJson ?? {}), configPath)
  if (tokenizer) checkTokenizerKeys(tokenizer, where)
  const added = addedTokens(tokenizer?.added_tokens)
  const remarks: string[] = []
  const metadata: Metadata = []
  let vocabulary: Vocabulary
  let pre = 'default'
  const pieces = await readPieces(folder, options.architecture, config)
  const decoder = addedTokens(config.get('added_tokens_decoder'))
  if (pieces) {
    if (options.pre !== undefined) {
      throw new TraitscopeError(
        'USAGE',
        `the tokenizer in ${folder} is a sentencepiece model, which has no splitting rule: leave --pre out`,
      )
    }
    // Phi-3's converter takes both lists literally; transformers 5 writes that of tokenizer.json alone.
    const literal = options.architecture === 'phi3'
    const known = new Set(decoder.map(({ id }) => id))
    const more = literal ? added : added.filter(({ id }) => !known.has(id))
    vocabulary = sentencePieceVocabulary(pieces, [...decoder, ...more], plain ?? {}, {
      size: checkedSize(options),
      literal,
    })
    metadata.push(['tokenizer.ggml.model', 'string', 'llama'], ['tokenizer.ggml.pre', 'string', pre])
    const prefix = spacePrefix(options.architecture, tokenizer, where, config, remarks)
    metadata.push(...prefix)
  } else {
    const source = byteLevelModel(tokenizer, where, options.architecture)
    vocabulary = byteLevelVocabulary(source, checkedSize(options), where)
    pre = options.pre ?? preTokenizerName(source, where)
    metadata.push(
      ['tokenizer.ggml.model', 'string', 'gpt2'],
      ['tokenizer.ggml.pre', 'string', pre],
      ['tokenizer.ggml.merges', 'string[]', mergeList(source, where)],
      ...strippedSpaces(added),
    )
    if (config.flag('add_prefix_space')) {
      config.refuse('add_prefix_space', "but llama.cpp's byte-level tokenizers add no space")
    }
  }
  metadata.push(['tokenizer.ggml.tokens', 'string[]', vocabulary.tokens])
  if (vocabulary.scores) metadata.push(['tokenizer.ggml.scores', 'f32[]', vocabulary.scores])
  metadata.push(['tokenizer.ggml.token_type', 'i32[]', vocabulary.types])
  const ends = tokenizer && templateEnds(tokenizer.post_processor, where)
  metadata.push(...specialTokens(added, ends ?? {}, config, options))
  metadata.push(...endFlags(ends, where, config, remarks))
  metadata.push(...(await chatTemplates(folder, config, remarks)))
  const known = new Set([...vocabulary.tokens, ...added.map(({ content }) => content)])
  requireTokens(config, known)
  remarks.push(...(await endRemarks(folder, vocabulary.tokens, tokenText(config.get('eos_token')))))
  refuseUnread(config, INERT_TOKENIZER_KEYS, options.ignored)
  return { metadata, pre, tokens: vocabulary.tokens, remarks }
}

/**
 * With the entries of special_tokens_map.json, which transformers takes instead of tokenizer_config.json's where that has no list
 * of added tokens, and does not read otherwise.
 */
async function withSpecialTokens(folder: string, config: Json): Promise<Json> {
  if (config.added_tokens_decoder !== undefined) return config
  return { ...config, ...(await readOptional(join(folder, 'special_tokens_map.json'))) }
}

/** transformers adds a special token that the vocabulary lacks behind its end, where the embedding has no row. */
function requireTokens(config: Settings, known: ReadonlySet<string>): void {
  for (const key of ['additional_special_tokens', 'extra_special_tokens']) {
    const value = config.get(key) ?? []
    const texts = Object.values(typeof value === 'object' ? value : [value]).map(tokenText)
    const missing = texts.find((text) => text === undefined || !known.has(text))
    if (texts.length > 0 && texts.some((text) => text === undefined || !known.has(text))) {
      config.refuse(key, 'a token that the vocabulary does not have', missing)
    }
  }
}

/** Tokens that swallow the white space beside them; llama.cpp knows them for Phi-3 alone, and `Model.tokenize` does it. */
function strippedSpaces(added: readonly AddedToken[]): Metadata {
  return (['lstrip', 'rstrip'] as const).flatMap((side): Metadata => {
    const ids = added.filter((token) => token[side]).map(({ id }) => id)
    return ids.length === 0 ? [] : [[`traitscope.tokenizer.${side}`, 'i32[]', Int32Array.from(ids)]]
  })
}

async function readPieces(folder: string, architecture: string, config: Settings) {
  if (architecture === 'phi3' && config.get('tokenizer_class') === 'GPT2Tokenizer') return undefined
  const path = join(folder, SENTENCEPIECE)
  const bytes = await ifThere(readWhole(path))
  return bytes && parseSentencePiece(bytes, path)
}

/** A byte-level BPE, and no sentencepiece model in the clothes of one: its merges alone do not give llama.cpp's scores. */
function byteLevelModel(tokenizer: Json | undefined, where: string, architecture: string): Json {
  const model = isJsonObject(tokenizer?.model) ? tokenizer.model : undefined
  const decoder = isJsonObject(tokenizer?.decoder) ? tokenizer.decoder : undefined
  if (tokenizer && model?.type === 'BPE' && model.byte_fallback !== true && decoder?.type === 'ByteLevel') {
    return tokenizer
  }
  const found = model ? `${model.type}${model.byte_fallback === true ? ' with byte fallback' : ''}` : 'none'
  throw new TraitscopeError(
    'UNSUPPORTED',
    `expected ${SENTENCEPIECE}, or a byte-level BPE in ${where}, for this ${architecture} model, found ${found}; copy ${SENTENCEPIECE} of the original model into the folder`,
  )
}

function checkedSize({ size }: TokenizerOptions): number {
  if (Number.isSafeInteger(size) && size > 0 && size <= MAX_TOKENS) return size
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected vocab_size to be from 1 to ${MAX_TOKENS}, found ${size}`,
  )
}

/** Ids of special tokens: tokenizer_config.json first, then the template of tokenizer.json, then config.json. */
function specialTokens(
  added: readonly AddedToken[],
  { first }: TemplateEnds,
  config: Settings,
  { tokenId, size }: TokenizerOptions,
): Metadata {
  const texts = new Map(ROLES.map(([role]) => [role, tokenText(config.get(`${role}_token`))]))
  if (texts.get('bos') === undefined && first !== undefined) texts.set('bos', first)
  const metadata: Metadata = []
  for (const [role, key] of ROLES) {
    const text = texts.get(role)
    const named = text === undefined ? undefined : added.find(({ content }) => content === text)?.id
    const stated = tokenId(role)
    const id = named ?? stated
    if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < size) {
      metadata.push([`tokenizer.ggml.${key}`, 'u32', id])
    }
  }
  return metadata
}

/** Whether BOS and EOS stand around a plain text: as tokenizer.json's template says, or else tokenizer_config.json. */
function endFlags(
  ends: TemplateEnds | undefined,
  where: string,
  config: Settings,
  remarks: string[],
): Metadata {
  return (['bos', 'eos'] as const).flatMap((role): Metadata => {
    const key = `add_${role}_token`
    const stated = config.get(key)
    const end = ends && (role === 'bos' ? ends.first : ends.last)
    const token = tokenText(config.get(`${role}_token`)) ?? end
    if (end !== undefined && end !== token) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${where} puts ${shown(end)} around a text, which is not the ${role}_token ${shown(token)}`,
      )
    }
    if (ends && typeof stated === 'boolean' && stated !== (end !== undefined)) {
      remarks.push(
        `${config.where} has ${key} ${stated}, against the post_processor of ${where}, which is followed; a conversation is not touched`,
      )
    }
    const flag = ends ? end !== undefined : stated
    // Not said is false for EOS in llama.cpp; for BOS it goes by the splitting rule.
    if (role === 'eos' && flag === false && stated === undefined) return []
    return typeof flag === 'boolean' ? [[`tokenizer.ggml.${key}`, 'bool', flag]] : []
  })
}

function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return isJsonObject(value) && typeof value.content === 'string' ? value.content : undefined
}

/**
 * Where a sentencepiece tokenizer puts a space that the text lacks: as tokenizer.json says, or else by the defaults of
 * the family. llama.cpp knows always and never; the first piece alone is `Model.tokenize`'s work.
 */
function spacePrefix(
  architecture: string,
  tokenizer: Json | undefined,
  where: string,
  config: Settings,
  remarks: string[],
): Metadata {
  const key = 'tokenizer.ggml.add_space_prefix'
  const legacy = config.get('legacy') ?? undefined
  const stated = config.get('add_prefix_space') ?? undefined
  const gemma = architecture.startsWith('gemma')
  const byFlags: SpacePrefix = gemma || stated === false ? 'never' : legacy === false ? 'first' : 'always'
  const prefix = tokenizer ? piecePrefix(tokenizer, where) : byFlags
  if (
    tokenizer &&
    (legacy !== undefined || stated !== undefined) &&
    describePrefix(prefix) !== describePrefix(byFlags)
  ) {
    remarks.push(
      `${where} puts a space before ${describePrefix(prefix)}, ${config.where} says before ${describePrefix(byFlags)} (legacy, add_prefix_space): the former is followed, as by transformers 4; transformers 5 may follow the latter`,
    )
  }
  if (prefix === 'first' || prefix === 'sections') {
    return [
      [key, 'bool', false],
      ['traitscope.tokenizer.space_prefix', 'string', prefix],
    ]
  }
  if (prefix === 'never') return [[key, 'bool', false]]
  return architecture === 'llama' && typeof stated === 'boolean' ? [[key, 'bool', true]] : []
}

function describePrefix(prefix: SpacePrefix): string {
  return { never: 'no part', first: 'the first part', sections: 'every part', always: 'every part' }[prefix]
}
