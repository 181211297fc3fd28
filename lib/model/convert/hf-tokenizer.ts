import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { errnoOf, fileError } from '../../formats/files/file-errors.js'
import { readWhole } from '../../formats/files/read-whole.js'
import type { GgufInput } from '../../formats/gguf/gguf.js'
import { parseSentencePiece } from '../../formats/hf/sentencepiece.js'
import { isJsonObject, readJsonFile } from '../../formats/json/json.js'
import {
  addedTokens,
  byteLevelVocabulary,
  mergeList,
  sentencePieceVocabulary,
  type Vocabulary,
} from './hf-vocabulary.js'
import { preTokenizerName } from './pre-tokenizers.js'

type Json = Readonly<Record<string, unknown>>
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
  /** The model's config.json, which names special tokens too. */
  config: Json
  /** llama.cpp's name of the splitting rule; default: recognised. */
  pre?: string | undefined
}

/**
 * The tokenizer of a Hugging Face folder as GGUF metadata: byte-level BPE from tokenizer.json, sentencepiece from
 * tokenizer.model.
 *
 * @throws UNSUPPORTED for other kinds and unknown splitting rules, USAGE for a rule that has no place here,
 * FILE_NOT_FOUND, FILE_INVALID
 */
export async function tokenizerMetadata(folder: string, options: TokenizerOptions): Promise<Metadata> {
  const [tokenizer, config, plain] = await Promise.all([
    readOptional(join(folder, TOKENIZER)),
    readOptional(join(folder, 'tokenizer_config.json')),
    readOptional(join(folder, 'added_tokens.json')),
  ])
  const pieces = await readPieces(folder, options.architecture, config)
  const metadata: Metadata = []
  let vocabulary: Vocabulary
  if (pieces) {
    if (options.pre !== undefined) {
      throw new TraitscopeError(
        'USAGE',
        `the tokenizer in ${folder} is a sentencepiece model, which has no splitting rule: leave --pre out`,
      )
    }
    // Phi-3's converter reads both lists and takes them literally.
    const literal = options.architecture === 'phi3'
    const added = addedTokens(config?.added_tokens_decoder)
    if (literal) added.push(...addedTokens(tokenizer?.added_tokens))
    vocabulary = sentencePieceVocabulary(pieces, added, plain ?? {}, { size: checkedSize(options), literal })
    metadata.push(['tokenizer.ggml.model', 'string', 'llama'], ['tokenizer.ggml.pre', 'string', 'default'])
  } else {
    const where = join(folder, TOKENIZER)
    const source = byteLevelModel(tokenizer, where, options.architecture)
    vocabulary = byteLevelVocabulary(source, checkedSize(options), where)
    metadata.push(
      ['tokenizer.ggml.model', 'string', 'gpt2'],
      ['tokenizer.ggml.pre', 'string', options.pre ?? preTokenizerName(source, where)],
      ['tokenizer.ggml.merges', 'string[]', mergeList(source, where)],
    )
  }
  metadata.push(['tokenizer.ggml.tokens', 'string[]', vocabulary.tokens])
  if (vocabulary.scores) metadata.push(['tokenizer.ggml.scores', 'f32[]', vocabulary.scores])
  metadata.push(['tokenizer.ggml.token_type', 'i32[]', vocabulary.types])
  metadata.push(...specialTokens(tokenizer ?? {}, config ?? {}, options))
  metadata.push(...spacePrefix(options.architecture, pieces !== undefined, config ?? {}))
  metadata.push(...(await chatTemplates(folder, config ?? {})))
  return metadata
}

async function readPieces(folder: string, architecture: string, config: Json | undefined) {
  if (architecture === 'phi3' && config?.tokenizer_class === 'GPT2Tokenizer') return undefined
  const path = join(folder, SENTENCEPIECE)
  try {
    return parseSentencePiece(await readWhole(path), path)
  } catch (error) {
    if (!(error instanceof TraitscopeError) || error.code !== 'FILE_NOT_FOUND') throw error
    return undefined
  }
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

/** Ids and `add_*_token` flags: tokenizer_config.json first, then the template of tokenizer.json, then config.json. */
function specialTokens(tokenizer: Json, config: Json, { config: model, size }: TokenizerOptions): Metadata {
  const added = addedTokens(tokenizer.added_tokens)
  const { first, last } = templateEnds(tokenizer.post_processor)
  const names: Record<string, unknown> = { ...config }
  if (tokenText(names.bos_token) === undefined && first !== undefined) names.bos_token = first
  const flags: Record<string, unknown> = {
    bos: first === undefined ? undefined : first === tokenText(names.bos_token),
    eos: last === undefined ? undefined : last === tokenText(names.eos_token),
  }
  const metadata: Metadata = []
  for (const [role, key] of ROLES) {
    const text = tokenText(names[`${role}_token`])
    const named = text === undefined ? undefined : added.find(({ content }) => content === text)?.id
    const id = named ?? model[`${role}_token_id`]
    if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < size) {
      metadata.push([`tokenizer.ggml.${key}`, 'u32', id])
    }
  }
  for (const role of ['bos', 'eos']) {
    const stated = config[`add_${role}_token`]
    const flag = typeof stated === 'boolean' ? stated : flags[role]
    if (typeof flag === 'boolean') metadata.push([`tokenizer.ggml.add_${role}_token`, 'bool', flag])
  }
  return metadata
}

/** The special tokens that tokenizer.json's template puts around a single text. */
function templateEnds(processor: unknown): { first?: string; last?: string } {
  if (!isJsonObject(processor)) return {}
  if (Array.isArray(processor.processors)) {
    const ends = processor.processors.map(templateEnds)
    return ends.find(({ first, last }) => first !== undefined || last !== undefined) ?? {}
  }
  const single = processor.type === 'TemplateProcessing' ? processor.single : undefined
  if (!Array.isArray(single) || single.length < 2) return {}
  const special = (entry: unknown) => {
    const token = isJsonObject(entry) ? entry.SpecialToken : undefined
    return isJsonObject(token) && typeof token.id === 'string' ? token.id : undefined
  }
  const first = special(single[0])
  const last = special(single.at(-1))
  return { ...(first === undefined ? {} : { first }), ...(last === undefined ? {} : { last }) }
}

function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return isJsonObject(value) && typeof value.content === 'string' ? value.content : undefined
}

function spacePrefix(architecture: string, pieces: boolean, config: Json): Metadata {
  const key = 'tokenizer.ggml.add_space_prefix'
  if (architecture.startsWith('gemma') && pieces) return [[key, 'bool', false]]
  const stated = config.add_prefix_space
  return architecture === 'llama' && typeof stated === 'boolean' ? [[key, 'bool', stated]] : []
}

async function chatTemplates(folder: string, config: Json): Promise<Metadata> {
  const key = 'tokenizer.chat_template'
  const stated = config.chat_template ?? (await separateTemplate(folder))
  if (typeof stated === 'string') return [[key, 'string', stated]]
  if (!Array.isArray(stated)) return []
  return stated.flatMap((entry: unknown): Metadata => {
    if (!isJsonObject(entry) || typeof entry.template !== 'string' || typeof entry.name !== 'string')
      return []
    return [[entry.name === 'default' ? key : `${key}.${entry.name}`, 'string', entry.template]]
  })
}

async function separateTemplate(folder: string): Promise<unknown> {
  const path = join(folder, 'chat_template.jinja')
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw fileError(error, path)
    return (await readOptional(join(folder, 'chat_template.json')))?.chat_template
  }
}

async function readOptional(path: string): Promise<Json | undefined> {
  try {
    const json = await readJsonFile(path)
    if (isJsonObject(json)) return json
  } catch (error) {
    if (error instanceof TraitscopeError && error.code === 'FILE_NOT_FOUND') return undefined
    throw error
  }
  throw new TraitscopeError('FILE_INVALID', `expected ${path} to hold a JSON object`)
}
