import type { HfClass } from './hf-classes.js'
import type { Settings } from './settings.js'

/** Blocks that attend to the last tokens only. */
export interface SlidingWindow {
  /** Tokens, that of the query included. */
  tokens: number
  /** Per block: whether it has the window. */
  blocks: boolean[]
  /** Whether llama.cpp's graph follows it; where not, prompts beyond the window have other states. */
  applied: boolean
}

/** Architectures whose graphs have windows, and every how many blocks one without it follows by default. */
export const WINDOW_PERIODS: Readonly<Record<string, number>> = { gemma2: 2, gemma3: 6 }

/**
 * Reads which blocks of a model have a sliding window, as transformers does.
 *
 * @returns undefined where none has one
 * @throws UNSUPPORTED, FILE_INVALID by name
 */
export function readWindow(
  settings: Settings,
  { architecture, modelType }: HfClass,
  blocks: number,
): SlidingWindow | undefined {
  const every = (value: boolean) => new Array<boolean>(blocks).fill(value)
  if (modelType === 'llama') return undefined
  if (modelType === 'mistral' || modelType === 'phi3') {
    if ((settings.get('sliding_window') ?? undefined) === undefined) return undefined
    return { tokens: settings.count('sliding_window'), blocks: every(true), applied: false }
  }
  const period = WINDOW_PERIODS[architecture]
  if (period === undefined) return readQwen(settings, blocks)
  // Older Gemma 3 folders state a period; a list of kinds goes before it.
  const step = architecture === 'gemma3' ? settings.count('sliding_window_pattern', period) : period
  const kinds = statedKinds(settings, blocks) ?? every(true).map((_, i) => (i + 1) % step !== 0)
  settings.get('sliding_window')
  if (!kinds.includes(true)) {
    if (architecture === 'gemma3') return undefined
    settings.refuse('layer_types', "but llama.cpp's gemma2 needs a block with a window", 'full_attention')
  }
  return { tokens: settings.count('sliding_window'), blocks: kinds, applied: true }
}

function readQwen(settings: Settings, blocks: number): SlidingWindow | undefined {
  const used = settings.flag('use_sliding_window')
  const first = settings.get('max_window_layers') === null ? blocks : settings.integer('max_window_layers')
  const stated = settings.get('sliding_window') ?? undefined
  const kinds =
    statedKinds(settings, blocks) ??
    Array.from({ length: blocks }, (_, i) => used && stated !== undefined && i >= first)
  if (!kinds.includes(true)) return undefined
  if (!used) settings.refuse('use_sliding_window', 'but layer_types names blocks with a window')
  return { tokens: settings.count('sliding_window'), blocks: kinds, applied: false }
}

/** `layer_types`: true for blocks with a window. */
function statedKinds(settings: Settings, blocks: number): boolean[] | undefined {
  const kinds = settings.get('layer_types') ?? undefined
  if (kinds === undefined) return undefined
  if (!Array.isArray(kinds) || kinds.length !== blocks) {
    return settings.fail(
      'layer_types',
      `a list of ${blocks} kinds`,
      Array.isArray(kinds) ? kinds.length : kinds,
    )
  }
  const other = kinds.findIndex((kind) => kind !== 'full_attention' && kind !== 'sliding_attention')
  if (other >= 0) {
    settings.refuse(
      'layer_types',
      `in block ${other}: expected full_attention or sliding_attention`,
      kinds[other],
    )
  }
  return kinds.map((kind) => kind === 'sliding_attention')
}
