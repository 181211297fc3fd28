import { TraitscopeError } from '../../errors.js'
import { isJsonObject } from '../../formats/json/json.js'
import { shown } from '../../formats/json/json-scan.js'
import { normalizerSteps } from './tokenizer-parts.js'

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const WORDS = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+'
const SYMBOLS = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*'
const SPACE = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const UPPER = '\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}'
const LOWER = '\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}'
const CASED = (ending: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]*[${LOWER}]+${ending}|[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]+[${LOWER}]*${ending}`
const PATHS = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*'

/** Splitting rules as the families' tokenizer.json state them, and llama.cpp's names of the same rules. */
const RULES: ReadonlyMap<string, string> = new Map([
  [`split ${CONTRACTIONS}|${WORDS}|\\p{N}{1,3}|${SYMBOLS}|${SPACE}, bytes`, 'llama-bpe'],
  [`split ${CONTRACTIONS}|${WORDS}|\\p{N}|${SYMBOLS}|${SPACE}, bytes`, 'qwen2'],
  [`split ${CASED(`${CONTRACTIONS}?`)}|\\p{N}{1,3}|${PATHS}|${SPACE}, bytes`, 'gpt-4o'],
  [`split ${CASED('')}|\\p{N}|${PATHS}|${SPACE}, bytes`, 'tekken'],
  ['digits, words', 'smollm'],
  ['words', 'gpt-2'],
])

/** llama.cpp takes these names as saying that a whole word in the vocabulary is one token, whatever the merges say. */
const IGNORES_MERGES = new Set(['llama-bpe', 'tekken'])
/** The same rule for vocabularies that do apply their merges. */
const WITH_MERGES: Readonly<Record<string, string>> = { 'llama-bpe': 'dbrx' }

/** The names that {@link preTokenizerName} can give. */
export const PRE_TOKENIZERS: readonly string[] = [...RULES.values(), ...Object.values(WITH_MERGES)]

/**
 * llama.cpp's name for the splitting rule of a byte-level tokenizer.json.
 *
 * @throws UNSUPPORTED when the rule, or the normalizer before it, is none that is known to give the same tokens
 */
export function preTokenizerName(tokenizer: Readonly<Record<string, unknown>>, where: string): string {
  const name = RULES.get(steps(tokenizer.pre_tokenizer).join(', '))
  if (name === undefined) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${where} splits text by the pre_tokenizer ${shown(tokenizer.pre_tokenizer ?? null)}, which is none of ${PRE_TOKENIZERS.join(', ')}; name llama.cpp's rule with --pre if you are sure which it is`,
    )
  }
  const normalizer = normalizerSteps(tokenizer.normalizer).join(', ')
  const expected = name === 'qwen2' ? 'NFC' : ''
  if (normalizer !== expected) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${where} has the normalizer ${shown(tokenizer.normalizer ?? null)}, expected ${expected ? `"${expected}"` : 'none'} with the rule ${name}; its tokens would not be the same`,
    )
  }
  const model = tokenizer.model
  const ignores = isJsonObject(model) && model.ignore_merges === true
  if (ignores === IGNORES_MERGES.has(name)) return name
  const other = ignores ? undefined : WITH_MERGES[name]
  if (other !== undefined) return other
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${where} has ignore_merges ${ignores} with the rule ${name}, which llama.cpp does not have; use the original model's tokenizer`,
  )
}

/** Steps of a pre-tokenizer, simplified to what makes a difference; anything else gives a text that no rule has. */
function steps(value: unknown): string[] {
  if (!isJsonObject(value)) return ['none']
  if (value.type === 'Sequence' && Array.isArray(value.pretokenizers)) {
    return value.pretokenizers.flatMap(steps)
  }
  if (value.type === 'Digits' && value.individual_digits === true) return ['digits']
  if (value.type === 'ByteLevel' && value.add_prefix_space !== true) {
    return [value.use_regex === false ? 'bytes' : 'words']
  }
  const regex = isJsonObject(value.pattern) ? value.pattern.Regex : undefined
  const isolates = value.type === 'Split' && value.behavior === 'Isolated' && value.invert !== true
  return [isolates && typeof regex === 'string' ? `split ${regex}` : JSON.stringify(value)]
}
