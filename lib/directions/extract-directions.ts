import { LLAMA_CPP_VERSION } from '../binding.js'
import { measurementConditions } from '../conditions/conditions.js'
import { readingRemarks } from '../conditions/reading-remarks.js'
import { TraitscopeError, throwIfAborted } from '../errors.js'
import { gram, norm } from '../estimators/linalg.js'
import { type Matrix, row, selectRows, stackRows } from '../estimators/matrix.js'
import { sha256 } from '../formats/files/hash.js'
import { hiddenStates } from '../hidden-states/hidden-states.js'
import { layerRows } from '../hidden-states/layer-rows.js'
import type { Model } from '../model/model.js'
import { packageVersion } from '../package.js'
import { ChatTemplate } from '../prompts/chat-template.js'
import { type Passages, passageTexts } from '../prompts/passages.js'
import { extractionPrompts } from '../prompts/prompt-sets.js'
import { chatTokens, TokenHash } from '../prompts/prompt-tokens.js'
import { selectTraits, type TraitSelection } from '../prompts/trait-pack.js'
import type { Trait, TraitPack } from '../prompts/trait-pack-yaml.js'
import { pairwiseCosines } from './cosines.js'
import {
  DIRECTION_METHODS,
  type Direction,
  type DirectionMethod,
  meanDifference,
  pcaDirection,
} from './difference.js'
import { type Directions, directionVector, encodeDirections } from './directions.js'
import { type HeldOut, heldOut, type PromptGrid } from './held-out.js'
import { probeAccuracy } from './probe.js'

/** Where and how to look for directions. */
export interface ExtractDirectionsOptions {
  /** 0-based blocks to read, all in one pass. */
  layers: readonly number[]
  /** Default `core`: the seven traits of the method. */
  traits?: TraitSelection | undefined
  /** Default `mean-difference`, the published estimator. */
  method?: DirectionMethod | undefined
  /** Default `last`: the last input token. */
  pool?: 'last' | 'mean' | undefined
  /**
   * Default: the model's own, with the pack's acknowledgement. With passages it is not used to make directions, only recorded
   * as the one that prompts are measured with; default for a model without one then `ChatTemplate.plain`.
   */
  template?: ChatTemplate | undefined
  /** Texts to read instead of the pack's questions and system prompts: for base models. Method section 2.5. */
  passages?: Passages | undefined
  /**
   * Fit the diagnostic probes (default true).
   */
  probes?: boolean | undefined
  signal?: AbortSignal | undefined
  /** Fraction done, 0 to 1, and the trait being read. */
  onProgress?: ((fraction: number, trait: string) => void) | undefined
}

/**
 * Trait directions from contrasting system prompts: every question under every system prompt of both poles,
 * the states of each pole averaged, their difference scaled to unit length. Method sections 2.1 and 4.1 to 4.5.
 *
 * Each trait and pole is one pass over the model whatever the number of layers. Only one trait's states are
 * held at a time, and what the directions are worth on other prompts is told from them, without a further pass.
 *
 * @throws TraitscopeError SHAPE naming a trait without a direction; USAGE, TEMPLATE, PROMPT_TOO_LONG,
 * COMPUTE, ABORTED
 */
export async function extractDirections(
  model: Model,
  pack: TraitPack,
  options: ExtractDirectionsOptions,
): Promise<Directions> {
  const { method = 'mean-difference', pool = 'last', probes = true, signal, onProgress } = options
  if (!DIRECTION_METHODS.includes(method)) {
    throw new TraitscopeError(
      'USAGE',
      `expected a method of ${DIRECTION_METHODS.join(', ')}, found ${method}`,
    )
  }
  const traits = selectTraits(pack, options.traits ?? 'core')
  const { passages } = options
  const { acknowledgement } = pack
  const template =
    options.template ??
    (passages && model.chatTemplate === undefined
      ? ChatTemplate.plain(model, { acknowledgement })
      : ChatTemplate.forModel(model, { acknowledgement }))
  const layers = [...new Set(options.layers)].sort((a, b) => a - b)
  const { nEmbd } = model.info

  const names = traits.map(({ name }) => name)
  const vectors = new Float32Array(layers.length * traits.length * nEmbd)
  const normSums = layers.map(() => ({ sum: 0, rows: 0 }))
  // Entries, not objects: a trait may be called __proto__.
  const separations = layers.map((): [string, number][] => [])
  const worths = layers.map((): [string, HeldOut | null][] => [])
  const accuracies = layers.map((): [string, number | null][] => [])
  const tokenHash = new TokenHash()
  const tokens = { total: 0, computed: 0 }
  const lengths: { length: number }[] = []

  for (const [t, trait] of traits.entries()) {
    const { poles, grid } = promptsOf(model, pack, trait, template, passages)
    const read = async (pole: 'positive' | 'negative') => {
      throwIfAborted(signal)
      const done = t + (pole === 'positive' ? 0 : 0.5)
      const prompts = await poles[pole]()
      tokenHash.add(prompts)
      lengths.push(...prompts.map(({ length }) => ({ length })))
      const states = await hiddenStates(model, prompts, {
        layers,
        pool,
        signal,
        onProgress: (fraction) => onProgress?.((done + fraction / 2) / traits.length, trait.name),
      })
      tokens.total += states.tokens.total
      tokens.computed += states.tokens.computed
      return states
    }
    const positive = await read('positive')
    const negative = await read('negative')
    for (const l of layers.keys()) {
      throwIfAborted(signal)
      const above = layerRows(positive, l)
      const below = layerRows(negative, l)
      const { unit, separation } = estimate(method, above, below, grid, trait)
      directionVector({ vectors, traits: names, nEmbd }, l, t).set(unit)
      separations[l]!.push([trait.name, separation])
      const inner = gram(stackRows(above, below))
      worths[l]!.push([trait.name, method === 'mean-difference' ? heldOut(inner, grid) : null])
      const accuracy = probes ? probeAccuracy(inner, above.rows) : undefined
      accuracies[l]!.push([trait.name, accuracy ?? null])
      for (const pole of [above, below]) {
        for (let r = 0; r < pole.rows; r++) normSums[l]!.sum += norm(row(pole, r))
        normSums[l]!.rows += pole.rows
      }
      // This takes a while in JavaScript; let the host's event loop breathe between layers.
      await new Promise(setImmediate)
    }
  }

  const body = { layers, traits: names, nEmbd, vectors }
  return {
    ...body,
    method,
    conditions: measurementConditions(model, template, pack, pool),
    ...(passages && { passagesSha256: passages.sha256 }),
    tokenIdsSha256: tokenHash.digest(),
    tokens,
    remarks: readingRemarks(model, lengths),
    diagnostics: layers.map((layer, l) => {
      const { pairs, average } = pairwiseCosines(
        names,
        names.map((_, t) => directionVector(body, l, t)),
      )
      return {
        layer,
        activationNorm: normSums[l]!.sum / normSums[l]!.rows,
        separation: Object.fromEntries(separations[l]!),
        heldOut: Object.fromEntries(worths[l]!),
        probeAccuracy: Object.fromEntries(accuracies[l]!),
        cosines: pairs,
        averageCosine: average,
      }
    }),
    versions: { traitscope: packageVersion, llamaCpp: LLAMA_CPP_VERSION },
    sha256: sha256(encodeDirections(body)),
  }
}

/** What one trait is read of: token ids of each pole, and how they are laid out. */
function promptsOf(
  model: Model,
  pack: TraitPack,
  trait: Trait,
  template: ChatTemplate,
  passages: Passages | undefined,
): { poles: Record<'positive' | 'negative', () => Promise<Int32Array[]>>; grid: PromptGrid } {
  if (passages) {
    const { positive, negative } = passageTexts(passages, trait.name)
    const questions = passages.openers.length
    return {
      poles: { positive: () => model.tokenize(positive), negative: () => model.tokenize(negative) },
      grid: { questions, positive: positive.length / questions, negative: negative.length / questions },
    }
  }
  const { positive, negative } = extractionPrompts(pack, trait)
  return {
    poles: {
      positive: () => chatTokens(model, template, positive),
      negative: () => chatTokens(model, template, negative),
    },
    grid: {
      questions: pack.questions.length,
      positive: trait.positiveSystemPrompts.length,
      negative: trait.negativeSystemPrompts.length,
    },
  }
}

function estimate(
  method: DirectionMethod,
  positive: Matrix,
  negative: Matrix,
  grid: PromptGrid,
  trait: Trait,
): Direction {
  if (method === 'mean-difference') return meanDifference(positive, negative, trait.name)
  // Pairs are made within a question: its k-th positive with its k-th negative system prompt, as far as both
  // pools go.
  const pairs = Math.min(grid.positive, grid.negative)
  const paired = (rows: Matrix, per: number) =>
    per === pairs
      ? rows
      : selectRows(
          rows,
          Array.from({ length: grid.questions * pairs }, (_, i) => Math.floor(i / pairs) * per + (i % pairs)),
        )
  return pcaDirection(paired(positive, grid.positive), paired(negative, grid.negative), trait.name)
}
