/** What choosing a layer will look at, and what that takes, before anything is computed. */
import { Made, type OptionKinds } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { DEFAULT_RUBRIC, fillRubric } from '../labels/answers/rubric.js'
import { costOfCalls, PRICES, type Prices } from '../labels/judges/endpoint-judge.js'
import { JUDGE, type Judge } from '../labels/judges/judge.js'
import type { Model } from '../model/model.js'
import { type ChatTemplate, TEMPLATE } from '../prompts/chat-template.js'
import { PASSAGES, type Passages } from '../prompts/passages.js'
import type { SteeringItem, SteeringSuite } from '../prompts/steering-suite.js'
import { selectTraits, type TraitSelection } from '../prompts/trait-pack.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'
import { divergenceCost, type Strength } from './divergence.js'
import { candidateLayers, SELECTION_METHODS, type SelectionMethod } from './layer-selection.js'
import { comparisonRubric, shownPair, shownPrompt } from './pair-judge.js'

/** Published constants: the grid in shares of R, and tokens of a judged answer. Method section 4.7. */
const DOSES = [0.05, 0.1, 0.25, 0.5]
const MAX_TOKENS = 256

/** What a layer is chosen from, and by what. */
export interface ChooseLayerOptions {
  /** 0-based blocks to choose from; default {@link candidateLayers}. */
  candidates?: readonly number[] | undefined
  /** Default `core`. */
  traits?: TraitSelection | undefined
  /** Default: the model's own; for a model without one, where there are passages, `ChatTemplate.plain`. */
  template?: ChatTemplate | undefined
  /** Make directions of passages: for base models. */
  passages?: Passages | undefined
  /** Default `semantic` with a judge, else `divergence`. */
  by?: SelectionMethod | undefined
  /** Reads steered answers to the suite. */
  judge?: Judge | undefined
  suite?: SteeringSuite | undefined
  /** The first so many prompts of each trait; default all. */
  promptsPerTrait?: number | undefined
  /** Default 0.05, 0.1, 0.25, 0.5: the published grid, in shares of R. */
  doses?: readonly number[] | undefined
  /** Of answers to the suite, default 256. */
  maxTokens?: number | undefined
  /** How strongly divergence is tested; default a dose of 0.25. The reference has an absolute 16, whatever the model. */
  strength?: Strength | undefined
  /** Fit the diagnostic probes, default true. */
  probes?: boolean | undefined
  /** A file that keeps answers and judgements, so that a choice that was ended goes on. */
  log?: string | undefined
  sequences?: number | undefined
  signal?: AbortSignal | undefined
  /** Of the judge, for `onCost`. */
  prices?: Prices | undefined
  /** What it will take, before anything is generated. */
  onCost?: ((cost: LayerChoiceCost) => void) | undefined
  /** What is being done and its fraction done. */
  onProgress?: ((stage: 'directions' | 'divergence' | 'judging', fraction: number) => void) | undefined
}

export const CHOICE_OPTIONS: OptionKinds<ChooseLayerOptions> = {
  candidates: 'numbers',
  traits: 'any',
  template: TEMPLATE,
  passages: PASSAGES,
  by: SELECTION_METHODS,
  judge: JUDGE,
  suite: new Made('a suite as loadSteeringSuite reads it', 'poles', true),
  promptsPerTrait: 'number',
  doses: 'numbers',
  maxTokens: 'number',
  strength: 'any',
  probes: 'boolean',
  log: 'path',
  sequences: 'number',
  signal: 'signal',
  prices: PRICES,
  onCost: 'function',
  onProgress: 'function',
}

/** What choosing a layer takes beside making directions, at most: one coherent dose early saves the smaller ones. */
export interface LayerChoiceCost {
  candidates: readonly number[]
  answers: number
  /** To generate. */
  tokens: number
  judgeCalls: number
  /** Counted with the steered model's vocabulary, which need not be the judge's; answers may be empty or as long as allowed. */
  judgeTokens: { least: number; most: number }
  /** In the currency of the prices; null without prices. */
  cost: { least: number; most: number } | null
}

/** Options of `chooseLayer` with every default filled in. */
export interface ChoicePlan {
  /** 0-based blocks, ascending. */
  candidates: number[]
  traits: string[]
  by: SelectionMethod
  /** Of the suite; empty without a judge. */
  items: SteeringItem[]
  /** From the largest down. */
  doses: number[]
  maxTokens: number
}

/**
 * @param judged whether a judge will read answers to the suite
 * @throws TraitscopeError USAGE for a judge without a suite, a way to choose that needs a judge, or impossible numbers
 */
export function planChoice(
  model: Model,
  pack: TraitPack,
  options: Omit<ChooseLayerOptions, 'judge'>,
  judged: boolean,
): ChoicePlan {
  const by = options.by ?? (judged ? 'semantic' : 'divergence')
  const traits = selectTraits(pack, options.traits ?? 'core').map(({ name }) => name)
  if (judged && !options.suite)
    throw new TraitscopeError('USAGE', 'a judge needs a suite of prompts: load one by loadSteeringSuite()')
  if (by === 'semantic' && !judged) {
    throw new TraitscopeError(
      'USAGE',
      `choosing by ${by} takes a judge: give --judge-url, --judge-gguf or --judge-module`,
    )
  }
  const doses = [...new Set(options.doses ?? DOSES)].sort((a, b) => b - a)
  const odd = doses.find((dose) => !(dose > 0 && Number.isFinite(dose)))
  if (odd !== undefined || doses.length === 0) {
    throw new TraitscopeError('USAGE', `expected doses above 0 (--doses), found ${odd ?? 'none'}`)
  }
  return {
    candidates: [...new Set(options.candidates ?? candidateLayers(model.info.nLayer))].sort((a, b) => a - b),
    ...{ traits, by, doses, maxTokens: options.maxTokens ?? MAX_TOKENS },
    items: judged ? itemsOf(options.suite!, traits, options.promptsPerTrait) : [],
  }
}

function itemsOf(
  { items, source }: SteeringSuite,
  traits: readonly string[],
  promptsPerTrait = Number.POSITIVE_INFINITY,
): SteeringItem[] {
  if (!(promptsPerTrait >= 1)) {
    throw new TraitscopeError(
      'USAGE',
      `expected at least one prompt per trait (--prompts-per-trait), found ${promptsPerTrait}`,
    )
  }
  const chosen = traits.flatMap((trait) =>
    items.filter((item) => item.trait === trait).slice(0, promptsPerTrait),
  )
  const missing = traits.filter((trait) => !items.some((item) => item.trait === trait))
  if (missing.length === 0 && chosen.length > 0) return chosen
  throw new TraitscopeError(
    'USAGE',
    `expected prompts for every trait in the suite ${source}, found none for ${missing.join(', ') || 'any'}; add some, or leave the trait out`,
  )
}

/** What a plan takes; nothing is generated and nobody asked. */
export async function choiceCost(
  model: Model,
  { candidates, traits, by, items, doses, maxTokens }: ChoicePlan,
  { suite, prices }: { suite?: SteeringSuite | undefined; prices?: Prices | undefined } = {},
): Promise<LayerChoiceCost> {
  const first = by === 'held-out' ? { answers: 0, tokens: 0 } : divergenceCost({ layers: candidates, traits })
  // Of every prompt, at each layer and dose, both signs.
  const times = 2 * candidates.length * doses.length
  const steered = times * items.length
  const answers = items.length === 0 ? 0 : items.length + steered
  const judgeTokens = { least: 0, most: 0 }
  if (suite && items.length > 0) {
    const empty = shownPair('', '')
    const prompts = items.flatMap((item) => [
      fillRubric(comparisonRubric(suite.poles.get(item.trait)!), shownPrompt(item), empty),
      fillRubric(DEFAULT_RUBRIC.coherent, shownPrompt(item), ''),
    ])
    const counted = await model.tokenize(prompts, { addSpecial: false, parseSpecial: false })
    judgeTokens.least = times * counted.reduce((sum, { length }) => sum + length, 0)
    // Two answers are compared, and the steered one is read once more.
    judgeTokens.most = judgeTokens.least + 3 * steered * maxTokens
  }
  const judgeCalls = 2 * steered
  return {
    candidates,
    answers: first.answers + answers,
    tokens: first.tokens + answers * maxTokens,
    ...{ judgeCalls, judgeTokens },
    cost: prices && judgeCalls > 0 ? costOfCalls(prices, judgeCalls, judgeTokens) : null,
  }
}
