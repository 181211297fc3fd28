import { checkMade, Needed, type OptionKinds, takeMade, takeOptions } from '../arguments.js'
import { LLAMA_CPP_VERSION } from '../binding.js'
import { measurementConditions } from '../conditions/conditions.js'
import { readingRemarks } from '../conditions/reading-remarks.js'
import { TraitscopeError, throwIfAborted } from '../errors.js'
import { gram, norm } from '../estimators/linalg.js'
import { type Matrix, row, selectRows, stackRows } from '../estimators/matrix.js'
import { mean } from '../estimators/mean.js'
import { sha256 } from '../formats/files/hash.js'
import { layerRows } from '../hidden-states/layer-rows.js'
import { MODEL, type Model } from '../model/model.js'
import { packageVersion } from '../package.js'
import { ChatTemplate, TEMPLATE } from '../prompts/chat-template.js'
import { PASSAGES, type Passages } from '../prompts/passages.js'
import { selectTraits, type TraitSelection } from '../prompts/trait-pack.js'
import { TRAIT_PACK, type Trait, type TraitPack } from '../prompts/trait-pack-yaml.js'
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
import { TraitReader, type TraitStates } from './trait-states.js'
import { Whitening, wordingResiduals } from './whitening.js'

/** Where and how to look for directions. */
export interface ExtractDirectionsOptions {
  /** 0-based blocks to read, all in one pass. */
  layers: readonly number[]
  /** Default `core`: the seven traits of the method. */
  traits?: TraitSelection | undefined
  /** Default `mean-difference`, the published estimator. `whitened` holds the states of all traits at once. */
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

const OPTIONS: OptionKinds<ExtractDirectionsOptions> = {
  layers: new Needed('numbers'),
  traits: 'any',
  method: DIRECTION_METHODS,
  pool: ['last', 'mean'],
  template: TEMPLATE,
  passages: PASSAGES,
  probes: 'boolean',
  signal: 'signal',
  onProgress: 'function',
}

/** One trait's direction at one layer. */
interface Made {
  direction: Direction
  /** Null for a method that cannot be tested so. */
  heldOut: HeldOut | null
  /** Accuracy of the probe; null where none was fitted. */
  probe: number | null
  /** ‖h‖ of every prompt, the positive pole first. */
  norms: number[]
}

/**
 * Trait directions from contrasting system prompts: every question under every system prompt of both poles,
 * the states of each pole averaged, their difference scaled to unit length. Method sections 2.1 and 4.1 to 4.5.
 *
 * Each trait and pole is one pass over the model whatever the number of layers. Only one trait's states are
 * held at a time (all of them by the method `whitened`), and what the directions are worth on other prompts is told from them, without a further pass.
 *
 * @throws TraitscopeError SHAPE naming a trait without a direction; USAGE, TEMPLATE, PROMPT_TOO_LONG,
 * COMPUTE, ABORTED
 */
export async function extractDirections(
  model: Model,
  pack: TraitPack,
  options: ExtractDirectionsOptions,
): Promise<Directions> {
  checkMade(model, MODEL)
  pack = takeMade(pack, TRAIT_PACK)
  const own = takeOptions('extractDirections', options, OPTIONS)
  const { method = 'mean-difference', pool = 'last', probes = true, signal, onProgress } = own
  const traits = selectTraits(pack, own.traits ?? 'core')
  if (method === 'whitened' && traits.length < 2) {
    throw new TraitscopeError(
      'USAGE',
      `expected two traits or more for the method whitened, which learns from the other traits what wordings do, found ${traits[0]!.name} alone: ` +
        'choose more traits, or the method mean-difference',
    )
  }
  const { passages } = own
  const { acknowledgement } = pack
  const template =
    own.template ??
    (passages && model.chatTemplate === undefined
      ? ChatTemplate.plain(model, { acknowledgement })
      : ChatTemplate.forModel(model, { acknowledgement }))
  const layers = [...new Set(own.layers)].sort((a, b) => a - b)
  const reader = new TraitReader({
    model,
    pack,
    traits,
    template,
    passages,
    layers,
    pool,
    signal,
    onProgress,
  })
  // By trait, then layer.
  const made: Made[][] = []
  const make = async (one: TraitStates, others: readonly TraitStates[] | undefined) => {
    const at: Made[] = []
    for (const l of layers.keys()) {
      throwIfAborted(signal)
      at.push(await madeAt(l, one, { method, probes, whitening: others && whiteningBy(others, l) }))
    }
    made.push(at)
  }
  if (method === 'whitened') {
    const all: TraitStates[] = []
    for (const trait of traits) all.push(await reader.read(trait))
    for (const one of all)
      await make(
        one,
        all.filter((other) => other !== one),
      )
  } else {
    for (const trait of traits) await make(await reader.read(trait), undefined)
  }

  const { nEmbd } = model.info
  const names = traits.map(({ name }) => name)
  const vectors = new Float32Array(layers.length * traits.length * nEmbd)
  const body = { layers, traits: names, nEmbd, vectors }
  for (const [t, at] of made.entries())
    for (const [l, { direction }] of at.entries()) directionVector(body, l, t).set(direction.unit)
  return {
    ...body,
    method,
    conditions: measurementConditions(model, template, pack, pool),
    ...(passages && { passagesSha256: passages.sha256 }),
    tokenIdsSha256: reader.tokenHash.digest(),
    tokens: reader.tokens,
    remarks: readingRemarks(model, reader.lengths),
    diagnostics: layers.map((layer, l) => {
      const { pairs, average } = pairwiseCosines(
        names,
        names.map((_, t) => directionVector(body, l, t)),
      )
      const norms = made.flatMap((at) => at[l]!.norms)
      const byTrait = <T>(value: (one: Made) => T): Record<string, T> =>
        // By entries, not assignments: a trait may be called __proto__.
        Object.fromEntries(made.map((at, t) => [names[t]!, value(at[l]!)]))
      return {
        layer,
        activationNorm: mean(norms),
        separation: byTrait(({ direction }) => direction.separation),
        heldOut: byTrait(({ heldOut }) => heldOut),
        probeAccuracy: byTrait(({ probe }) => probe),
        cosines: pairs,
        averageCosine: average,
      }
    }),
    versions: { traitscope: packageVersion, llamaCpp: LLAMA_CPP_VERSION },
    sha256: sha256(encodeDirections(body)),
  }
}

/** A trait's direction at one layer, and what it is worth there. */
async function madeAt(
  l: number,
  { trait, grid, positive, negative }: TraitStates,
  by: { method: DirectionMethod; probes: boolean; whitening: Whitening | undefined },
): Promise<Made> {
  const { method, probes, whitening } = by
  const above = layerRows(positive, l)
  const below = layerRows(negative, l)
  const direction = estimate({ method, above, below, grid, trait, whitening })
  const states = stackRows(above, below)
  const inner = gram(states)
  return {
    direction,
    heldOut: method === 'pca' ? null : await heldOut(whitening ? whitening.gram(states) : inner, grid),
    probe: (probes ? await probeAccuracy(inner, above.rows) : undefined) ?? null,
    norms: Array.from({ length: states.rows }, (_, r) => norm(row(states, r))),
  }
}

/**
 * By what the other traits' wordings do to states at a layer. The trait's own are left out, so nothing of what a held-out figure
 * tests is in it.
 */
function whiteningBy(others: readonly TraitStates[], l: number): Whitening {
  const whitening = Whitening.of(
    others.flatMap(({ positive, negative, grid }) => [
      wordingResiduals(layerRows(positive, l), grid.positive),
      wordingResiduals(layerRows(negative, l), grid.negative),
    ]),
  )
  if (whitening !== undefined) return whitening
  throw new TraitscopeError(
    'USAGE',
    'expected system prompts whose wordings differ for the method whitened, found one for each pole of the other traits, or all alike: ' +
      'give the trait pack two or more, or take the method mean-difference',
  )
}

function estimate(from: {
  method: DirectionMethod
  above: Matrix
  below: Matrix
  grid: PromptGrid
  trait: Trait
  whitening: Whitening | undefined
}): Direction {
  const { method, above: positive, below: negative, grid, trait, whitening } = from
  if (method !== 'pca') {
    const mean = meanDifference(positive, negative, trait.name)
    if (whitening === undefined) return mean
    const whitened = whitening.apply(mean.unit)
    const length = norm(whitened)
    return { unit: whitened.map((value) => value / length), separation: mean.separation }
  }
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
