import { TraitscopeError } from '../../errors.js'
import { isJsonObject } from '../../formats/json/json.js'
import { shown } from '../../formats/json/json-scan.js'
import type { InertKeys, Json } from './settings.js'

/**
 * Where a sentencepiece tokenizer puts a space: before the first part of the text, before every part between added
 * tokens; `sections` and `first` only where there is none yet.
 */
export type SpacePrefix = 'never' | 'first' | 'sections' | 'always'

const PIECE_SPACE = '▁'
const SPACES = `replace " " by "${PIECE_SPACE}"`
const PREFIX = `prepend "${PIECE_SPACE}"`
/** Gemma splits at spaces, of which none are left by then. */
const SPLIT_AT_SPACES = {
  type: 'Split',
  pattern: { String: ' ' },
  behavior: 'MergedWithPrevious',
  invert: false,
}

/**
 * The steps of a normalizer, sequences opened; a step that is not known is its JSON text, which no rule has.
 */
export function normalizerSteps(value: unknown): string[] {
  if (value === null || value === undefined) return []
  if (!isJsonObject(value)) return [shown(value)]
  const { type, ...rest } = value
  if (type === 'Sequence' && Array.isArray(rest.normalizers)) return rest.normalizers.flatMap(normalizerSteps)
  if (type === 'NFC') return ['NFC']
  if (type === 'Prepend' && rest.prepend === PIECE_SPACE) return [PREFIX]
  const from = isJsonObject(rest.pattern) ? rest.pattern.String : undefined
  if (type === 'Replace' && from === ' ' && rest.content === PIECE_SPACE) return [SPACES]
  return [shown(value)]
}

/**
 * Where the sentencepiece tokenizer of a tokenizer.json puts spaces.
 *
 * @throws UNSUPPORTED with the value for other normalizers and pre-tokenizers
 */
export function piecePrefix(tokenizer: Json, where: string): SpacePrefix {
  const steps = normalizerSteps(tokenizer.normalizer).join(', ')
  const pre = tokenizer.pre_tokenizer ?? undefined
  const splits = pre !== undefined && !sameJson(pre, SPLIT_AT_SPACES)
  if (!splits && steps === `${PREFIX}, ${SPACES}`) return 'always'
  if (!splits && steps === SPACES) return 'never'
  if (splits && (steps === '' || steps === SPACES)) {
    const scheme = metaspaceScheme(pre)
    if (scheme === 'first' || scheme === 'never') return scheme
    if (scheme === 'always') return 'sections'
  }
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${where} has the normalizer ${shown(tokenizer.normalizer ?? null)} and the pre_tokenizer ${shown(pre ?? null)}, which no sentencepiece tokenizer that llama.cpp follows has`,
  )
}

function metaspaceScheme(value: unknown): unknown {
  if (!isJsonObject(value) || value.type !== 'Metaspace' || value.replacement !== PIECE_SPACE)
    return undefined
  const { type, replacement, split, prepend_scheme, add_prefix_space, str_rep, ...rest } = value
  if (split !== false || Object.keys(rest).length > 0 || (str_rep ?? PIECE_SPACE) !== PIECE_SPACE)
    return undefined
  return prepend_scheme ?? (add_prefix_space === false ? 'never' : 'always')
}

/** The special tokens that a post-processor puts around a single text, at most one at each end. */
export interface TemplateEnds {
  first?: string
  last?: string
}

/** @throws UNSUPPORTED with the value for a post-processor that llama.cpp cannot follow */
export function templateEnds(processor: unknown, where: string): TemplateEnds {
  if (processor === null || processor === undefined) return {}
  const refuse = (): never => {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${where} has the post_processor ${shown(processor)}, expected one that adds at most a token before and one behind a text`,
    )
  }
  if (!isJsonObject(processor)) return refuse()
  if (processor.type === 'ByteLevel') return {} // moves offsets, not tokens
  if (processor.type === 'Sequence' && Array.isArray(processor.processors)) {
    return Object.assign({}, ...processor.processors.map((part) => templateEnds(part, where)))
  }
  const { single } = processor
  if (processor.type !== 'TemplateProcessing' || !Array.isArray(single)) return refuse()
  const names = single.map((entry: unknown) => {
    const special =
      isJsonObject(entry) && isJsonObject(entry.SpecialToken) ? entry.SpecialToken.id : undefined
    if (typeof special === 'string') return special
    return isJsonObject(entry) && isJsonObject(entry.Sequence) && entry.Sequence.id === 'A' ? null : refuse()
  })
  const text = names.indexOf(null)
  if (text < 0 || text > 1 || names.length - text > 2 || names.indexOf(null, text + 1) >= 0) return refuse()
  const [first, last] = [text === 1 ? names[0] : undefined, names[text + 1]]
  return { ...(first ? { first } : {}), ...(last ? { last } : {}) }
}

/** Keys of tokenizer.json and of its model, with the values that change no id. */
const TOP_KEYS: Readonly<Record<string, (value: unknown) => boolean>> = {
  version: () => true,
  truncation: () => true, // transformers sets its own for every call
  padding: () => true, // the same
  added_tokens: () => true,
  normalizer: () => true,
  pre_tokenizer: () => true,
  post_processor: () => true,
  decoder: () => true, // turns ids into text
  model: () => true,
}
const nothing = (value: unknown) => value === null || value === undefined || value === '' || value === false
const MODEL_KEYS: Readonly<Record<string, (value: unknown) => boolean>> = {
  type: (value) => value === 'BPE',
  vocab: () => true,
  merges: () => true,
  dropout: (value) => nothing(value) || value === 0,
  unk_token: () => true,
  fuse_unk: () => true,
  byte_fallback: () => true,
  ignore_merges: () => true,
  continuing_subword_prefix: nothing,
  end_of_word_suffix: nothing,
}

/**
 * Refuses what a tokenizer.json says beside the parts that are read.
 *
 * @param strips whether spaces around special tokens are left out as the tokens say
 * @throws UNSUPPORTED by name and value
 */
export function checkTokenizerKeys(tokenizer: Json, where: string): void {
  const refuse = (name: string, value: unknown) => {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${where} has ${name} ${shown(value)}, which llama.cpp's tokenizer does not follow`,
    )
  }
  const check = (json: Json, known: typeof TOP_KEYS, prefix: string) => {
    for (const [key, value] of Object.entries(json)) {
      const accepts = Object.hasOwn(known, key) ? known[key]! : nothing
      if (!accepts(value)) refuse(`${prefix}${key}`, value)
    }
  }
  check(tokenizer, TOP_KEYS, '')
  if (isJsonObject(tokenizer.model)) check(tokenizer.model, MODEL_KEYS, 'model.')
  for (const entry of Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens : []) {
    if (isJsonObject(entry) && entry.single_word === true) {
      refuse(`single_word in the added token ${shown(entry.content)}`, true)
    }
  }
}

const keys = (why: string, ...names: string[]): [string, string][] => names.map((name) => [name, why])
const CALLS = 'a default of calls; a prompt is given as it is'
const NAMES = 'names a token that tokenizer.json has, or none of a text'
const FORMAT = 'says how the file was written'

/** Keys of tokenizer_config.json that change no id. */
export const INERT_TOKENIZER_KEYS: InertKeys = Object.fromEntries([
  ...keys(
    'tokenizer.json says what it does',
    'tokenizer_class',
    'use_fast',
    'from_slow',
    'vocab_size',
    'vocab_file',
  ),
  ...keys('tokenizer.json says what it does', 'trim_offsets', 'unk_id', 'merges_file'),
  ...keys('turns ids into text', 'clean_up_tokenization_spaces', 'spaces_between_special_tokens', 'errors'),
  ...keys('turns ids into text', 'response_schema', 'response_template'),
  ...keys(CALLS, 'model_max_length', 'padding_side', 'truncation_side', 'max_length', 'stride', 'truncation'),
  ...keys(
    CALLS,
    'truncation_strategy',
    'pad_to_multiple_of',
    'pad_token_type_id',
    'model_input_names',
    'padding',
  ),
  ...keys(CALLS, 'return_token_type_ids', 'max_len_single_sentence', 'max_len_sentences_pair', 'verbose'),
  ...keys(
    NAMES,
    'cls_token',
    'sep_token',
    'mask_token',
    'image_token',
    'boi_token',
    'eoi_token',
    'audio_token',
  ),
  ...keys(NAMES, 'boa_token', 'eoa_token', 'model_specific_special_tokens', 'eot_token', 'eom_token'),
  ...keys(
    NAMES,
    'prefix_token',
    'middle_token',
    'suffix_token',
    'suffix_first',
    'fill_token',
    'image_token_id',
  ),
  ...keys(NAMES, 'boi_token_id', 'eoi_token_id', 'cls_token_id', 'vision_bos_token', 'vision_eos_token'),
  ...keys(FORMAT, 'name_or_path', 'tokenizer_file', 'special_tokens_map_file', 'backend', 'is_local'),
  ...keys(
    FORMAT,
    'local_files_only',
    'processor_class',
    'transformers_version',
    'device_map',
    'unsloth_version',
  ),
  ...keys('acted through a default template of older releases', 'use_default_system_prompt'),
])

function sameJson(a: unknown, b: unknown): boolean {
  if (!isJsonObject(a) || !isJsonObject(b)) return a === b
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...names].every((name) => sameJson(a[name], b[name]))
}
