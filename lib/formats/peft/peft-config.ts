import { TraitscopeError } from '../../errors.js'
import { sha256 } from '../files/hash.js'
import { isJsonObject } from '../json/json.js'
import { quoted, shown } from '../json/json-scan.js'
import { movedInitialisation, refuseUnsupported } from './peft-refusals.js'
import { compilePathPatterns, type PathPatterns } from './python-pattern.js'

/** Which modules a list in adapter_config.json names. */
export interface PeftTargets {
  readonly names: readonly string[]
  /** Numbers of the layers; absent for all. */
  readonly layers?: readonly number[]
}

/** What adapter_config.json says about the weights; everything that would change them otherwise has been refused. */
export interface PeftConfig {
  readonly r: number
  readonly loraAlpha: number
  /** s = alpha / sqrt(r) instead of alpha / r. */
  readonly useRslora: boolean
  /** Patterns in file order; the first that matches a module path gives its rank. */
  readonly rankPattern: ReadonlyMap<string, number>
  readonly alphaPattern: ReadonlyMap<string, number>
  /** Trained rows of embeddings by module name; `embed_tokens` when the configuration names none. */
  readonly tokenIndices: ReadonlyMap<string, readonly number[]>
  /** Every module is DoRA: its magnitude must be among the tensors. */
  readonly useDora: boolean
  /** Every lora_B has a bias, which must be among the tensors. */
  readonly loraBias: boolean
  /** Names of modules that were trained whole; their tensors must be there. */
  readonly modulesToSave: readonly string[]
  /** The head is adapted as the embedding is, because the base has them tied. */
  readonly ensureWeightTying: boolean
  /**
   * Name of an initialisation (PiSSA, ...) that moved a part of the base into the adapter: it is a change of what
   * remained, not of the original base.
   */
  readonly movedBase?: string
  /** Absent where an expression names the modules. */
  readonly targets?: PeftTargets
  readonly baseModel?: string
  readonly peftVersion?: string
  /** The same for two configurations under which equal tensors mean equal weights. */
  readonly scalingId: string
}

/** Rank and scale of one module. */
export interface LoraScaling {
  r: number
  /** Factor s on B·A, computed in float64. */
  scale: number
}

const DEFAULT_RANK = 8
const DEFAULT_ALPHA = 8
/** Above this a LoRA is no longer one, and the file is hostile or broken. */
const MAX_RANK = 65_536

/**
 * Reads the parsed adapter_config.json.
 *
 * @throws ADAPTER_INVALID for impossible values, UNSUPPORTED, by name and with a remedy, for every feature whose
 * effect is not computed here.
 */
export function parsePeftConfig(json: unknown, where: string): PeftConfig {
  if (!isJsonObject(json)) throw invalid(where, 'a JSON object', json)
  refuseUnsupported(json, where)
  const r = rankOf(json.r ?? DEFAULT_RANK, `r in ${where}`)
  const loraAlpha = alphaOf(json.lora_alpha ?? DEFAULT_ALPHA, `lora_alpha in ${where}`)
  const useRslora = flagOf(json.use_rslora, `use_rslora in ${where}`)
  const rankPattern = tableOf(json.rank_pattern, `rank_pattern in ${where}`, rankOf)
  const alphaPattern = tableOf(json.alpha_pattern, `alpha_pattern in ${where}`, alphaOf)
  const tokenIndices = tokenIndicesOf(json.trainable_token_indices, `trainable_token_indices in ${where}`)
  const scaling: unknown[] = [r, loraAlpha, useRslora, [...rankPattern], [...alphaPattern]]
  if (tokenIndices.size > 0) scaling.push([...tokenIndices])
  const movedBase = movedInitialisation(json.init_lora_weights, where)
  return {
    r,
    loraAlpha,
    useRslora,
    rankPattern,
    alphaPattern,
    tokenIndices,
    useDora: flagOf(json.use_dora, `use_dora in ${where}`),
    loraBias: flagOf(json.lora_bias, `lora_bias in ${where}`),
    modulesToSave: namesOf(json.modules_to_save, `modules_to_save in ${where}`),
    ensureWeightTying: flagOf(json.ensure_weight_tying, `ensure_weight_tying in ${where}`),
    ...targetsOf(json),
    ...(movedBase === undefined ? {} : { movedBase }),
    ...(typeof json.base_model_name_or_path === 'string' ? { baseModel: json.base_model_name_or_path } : {}),
    ...(typeof json.peft_version === 'string' ? { peftVersion: json.peft_version } : {}),
    scalingId: sha256(JSON.stringify(scaling)),
  }
}

/** What a list of target modules names; expressions and "all-linear" are taken at their word. */
function targetsOf(json: Readonly<Record<string, unknown>>): { targets?: PeftTargets } {
  const { target_modules: names, layers_to_transform: stated, layers_pattern: pattern } = json
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) return {}
  const layers = pattern === null || pattern === undefined ? [stated].flat() : []
  const isList = layers.length > 0 && layers.every((layer) => typeof layer === 'number')
  return { targets: { names, ...(isList && { layers }) } }
}

/**
 * Rank and scale per module path (without `base_model.model.`), as PEFT computes them.
 *
 * @throws as the patterns do; see `compilePathPatterns`.
 */
export function loraScaling(config: PeftConfig): (path: string) => LoraScaling {
  const rankKey = patterns(config.rankPattern, 'rank_pattern')
  const alphaKey = patterns(config.alphaPattern, 'alpha_pattern')
  return (path) => {
    const r = config.rankPattern.get(rankKey(path) ?? '') ?? config.r
    const alpha = config.alphaPattern.get(alphaKey(path) ?? '') ?? config.loraAlpha
    return { r, scale: alpha / (config.useRslora ? Math.sqrt(r) : r) }
  }
}

/**
 * Whether keys of a table give modules several values. The first that matches counts, and PEFT sorts the keys when it saves: what
 * it loads then need not be what it trained with.
 */
export function contested(
  config: PeftConfig,
  field: 'rank_pattern' | 'alpha_pattern',
): (path: string) => boolean {
  const table = field === 'rank_pattern' ? config.rankPattern : config.alphaPattern
  const [first, last] = [patterns(table, field), patterns(new Map([...table].reverse()), field)]
  return (path) => table.get(first(path) ?? '') !== table.get(last(path) ?? '')
}

function patterns(table: ReadonlyMap<string, number>, field: string): PathPatterns {
  return compilePathPatterns([...table.keys()], field)
}

function rankOf(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_RANK) return value
  throw invalid(what, `an integer from 1 to ${MAX_RANK}`, value)
}

function alphaOf(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw invalid(what, 'a finite number', value)
}

function flagOf(value: unknown, what: string): boolean {
  if (value === undefined || value === null) return false
  if (typeof value === 'boolean') return value
  throw invalid(what, 'true or false', value)
}

function tableOf(
  value: unknown,
  what: string,
  entry: (value: unknown, what: string) => number,
): Map<string, number> {
  if (value === undefined || value === null) return new Map()
  if (!isJsonObject(value)) throw invalid(what, 'an object of numbers', value)
  return new Map(Object.entries(value).map(([key, item]) => [key, entry(item, `${quoted(key)} of ${what}`)]))
}

function namesOf(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value
  throw invalid(what, 'a list of names', value)
}

function tokenIndicesOf(value: unknown, what: string): Map<string, number[]> {
  if (value === undefined || value === null) return new Map()
  const table = Array.isArray(value) ? { embed_tokens: value } : value
  if (!isJsonObject(table)) throw invalid(what, 'a list of token ids, or an object of them', value)
  const isId = (id: unknown): id is number =>
    typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < 2 ** 31
  const lists = Object.entries(table).map(([name, ids]): [string, number[]] => {
    if (!Array.isArray(ids) || !ids.every(isId) || new Set(ids).size !== ids.length) {
      throw invalid(`${quoted(name)} of ${what}`, 'a list of different token ids', ids)
    }
    return [name, ids]
  })
  return new Map(lists.filter(([, ids]) => ids.length > 0))
}

function invalid(what: string, expected: string, found: unknown): TraitscopeError {
  return new TraitscopeError('ADAPTER_INVALID', `expected ${what} to be ${expected}, found ${shown(found)}`)
}
