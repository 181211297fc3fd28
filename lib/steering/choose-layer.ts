import { type Directions, directionsAt } from '../directions/directions.js'
import { extractDirections } from '../directions/extract-directions.js'
import { TraitscopeError } from '../errors.js'
import type { Judge } from '../labels/judge.js'
import type { Model } from '../model/model.js'
import { ChatTemplate } from '../prompts/chat-template.js'
import type { Passages } from '../prompts/passages.js'
import type { SteeringItem, SteeringSuite } from '../prompts/steering-suite.js'
import { selectTraits, type TraitSelection } from '../prompts/trait-pack.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'
import { openSteeringLog } from './answer-log.js'
import { divergenceCost, mean, type Strength, steeringDivergence } from './divergence.js'
import { judgeDoses } from './dose-grid.js'
import { explainChoice } from './explain-choice.js'
import {
  bestOf,
  candidateLayers,
  type LayerSelection,
  type SelectionMethod,
  scoresBy,
} from './layer-selection.js'
import { refuseUnfit } from './pair-judge.js'

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
  /** What it will take, before anything is generated. */
  onCost?: ((cost: LayerChoiceCost) => void) | undefined
  /** What is being done and its fraction done. */
  onProgress?: ((stage: 'directions' | 'divergence' | 'judging', fraction: number) => void) | undefined
}

/** What choosing a layer takes beside making directions, at most: one coherent dose early saves the smaller ones. */
export interface LayerChoiceCost {
  candidates: readonly number[]
  answers: number
  /** To generate. */
  tokens: number
  judgeCalls: number
}

export const DOSES = [0.05, 0.1, 0.25, 0.5]
const MAX_TOKENS = 256

/**
 * Makes directions at all candidates in shared passes, looks at what each way of choosing says of them, and chooses. Unsteered answers
 * are generated once for all layers, traits and doses. Method section 4.7.
 *
 * @returns directions at the chosen layer, and everything that was computed
 * @throws TraitscopeError USAGE for a judge without a suite, or a way to choose that needs one; as `extractDirections`,
 * `Model.generate`, `Judge.grade`
 */
export async function chooseLayer(
  model: Model,
  pack: TraitPack,
  options: ChooseLayerOptions = {},
): Promise<{ directions: Directions; selection: LayerSelection }> {
  const { judge, passages, signal, onProgress } = options
  const asked = options.by ?? (judge ? 'semantic' : 'divergence')
  const suite = suiteOf(options, asked)
  const template =
    options.template ?? (passages && model.chatTemplate === undefined ? ChatTemplate.plain(model) : undefined)
  const candidates = [...new Set(options.candidates ?? candidateLayers(model.info.nLayer))].sort(
    (a, b) => a - b,
  )
  const names = selectTraits(pack, options.traits ?? 'core').map(({ name }) => name)
  const items = suite ? itemsOf(suite, names, options.promptsPerTrait) : []
  options.onCost?.(costOf(candidates, names, items, asked, options))
  const all = await extractDirections(model, pack, {
    layers: candidates,
    traits: names,
    template,
    passages,
    probes: options.probes,
    signal,
    onProgress: (fraction) => onProgress?.('directions', fraction),
  })

  await using log = options.log === undefined ? undefined : await openSteeringLog(options.log)
  const source = {
    model,
    template: template ?? ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement }),
    directionsSha256: all.sha256,
    log,
    sequences: options.sequences,
    signal,
  }
  const divergence =
    asked === 'held-out'
      ? null
      : await steeringDivergence(source, all, options.strength ?? { dose: 0.25 }, (fraction) =>
          onProgress?.('divergence', fraction),
        )
  const doses =
    judge && suite
      ? await judgeDoses(source, all, {
          ...{
            judge,
            suite,
            items,
            doses: options.doses ?? DOSES,
            maxTokens: options.maxTokens ?? MAX_TOKENS,
          },
          onProgress: (fraction) => onProgress?.('judging', fraction),
        })
      : null
  const scores = {
    model: model.info.name ?? model.info.architecture,
    baseFingerprint: model.fingerprint,
    candidates,
    traits: all.traits,
    activationNorms: all.diagnostics.map(({ activationNorm }) => activationNorm),
    probeAccuracy: all.diagnostics.map(({ probeAccuracy }) => probeAccuracy),
    heldOut: all.diagnostics.map(({ heldOut }) => heldOut),
    meanHeldOut: meanHeldOut(all),
    divergence,
    doses,
    chosenDose: doses?.find(({ coherent }) => coherent)?.dose ?? null,
    judge: judge?.identity ?? null,
    suite:
      suite && judge
        ? { source: suite.source, sha256: suite.sha256, promptsPerTrait: items.length / tested(items) }
        : null,
    passagesSha256: all.passagesSha256 ?? null,
    directionsSha256: all.sha256,
  }
  const { by, values } = decide(scores, asked)
  const index = bestOf(values, candidates, by)
  const explanation = explainChoice(scores, { index, by, asked }, all)
  const layer = candidates[index]!
  return { directions: directionsAt(all, [layer]), selection: { ...scores, layer, by, explanation } }
}

function suiteOf(
  { judge, suite, by }: ChooseLayerOptions,
  asked: SelectionMethod,
): SteeringSuite | undefined {
  if (judge) refuseUnfit(judge)
  if (judge && !suite)
    throw new TraitscopeError('USAGE', 'a judge needs a suite of prompts: load one by loadSteeringSuite()')
  if (asked === 'semantic' && !judge) {
    throw new TraitscopeError(
      'USAGE',
      `choosing by ${by} takes a judge: give --judge-url, --judge-gguf or --judge-module`,
    )
  }
  return judge ? suite : undefined
}

function itemsOf(
  { items, source }: SteeringSuite,
  traits: readonly string[],
  promptsPerTrait = Number.POSITIVE_INFINITY,
): SteeringItem[] {
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

const tested = (items: readonly SteeringItem[]) => new Set(items.map(({ trait }) => trait)).size

function costOf(
  layers: readonly number[],
  traits: readonly string[],
  items: readonly SteeringItem[],
  asked: SelectionMethod,
  { doses = DOSES, maxTokens = MAX_TOKENS }: ChooseLayerOptions,
): LayerChoiceCost {
  const first = asked === 'held-out' ? { answers: 0, tokens: 0 } : divergenceCost({ layers, traits })
  const steered = 2 * items.length * layers.length * doses.length
  const answers = items.length === 0 ? 0 : items.length + steered
  return {
    candidates: layers,
    answers: first.answers + answers,
    tokens: first.tokens + answers * maxTokens,
    judgeCalls: 2 * steered,
  }
}

/** What was asked for, or the next way that has anything to say. */
function decide(
  scores: Parameters<typeof scoresBy>[0],
  asked: SelectionMethod,
): { by: SelectionMethod; values: number[] } {
  for (const by of [asked, 'divergence', 'held-out'] as const) {
    const values = scoresBy(scores, by)
    if (values) return { by, values }
  }
  throw new TraitscopeError(
    'USAGE',
    'there is nothing to choose a layer by: held-out figures need four questions and four system prompts of each pole; choose by divergence, or name a layer',
  )
}

function meanHeldOut({ diagnostics, traits }: Directions): (number | null)[] {
  return diagnostics.map(({ heldOut }) => {
    const values = traits.map((trait) => (heldOut[trait]?.both ?? heldOut[trait]?.question)?.auroc)
    return values.every((value) => value !== undefined) ? mean(values as number[]) : null
  })
}
