import { checkMade, Needed, type OptionKinds, takeMade } from '../arguments.js'
import { assertComparable } from '../conditions/comparable.js'
import { measurementConditions } from '../conditions/conditions.js'
import { CONTEXT_SET, type ContextSet } from '../contexts/context-set.js'
import { DIRECTIONS, type Directions, layerIndex } from '../directions/directions.js'
import { TraitscopeError } from '../errors.js'
import { defaultCacheDir } from '../formats/files/cache-dir.js'
import { MARGIN_PAIRS, type MarginPairs } from '../labels/margins/margin-pairs.js'
import { pairPrompts } from '../labels/margins/pair-reading.js'
import { CHECKPOINT_OPTIONS, type CheckpointOptions } from '../model/checkpoint/opened-checkpoint.js'
import { amplifyingStrengths } from '../model/checkpoint/strengths.js'
import { MODEL, type Model } from '../model/model.js'
import { ChatTemplate, TEMPLATE } from '../prompts/chat-template.js'
import { evaluationPrompts } from '../prompts/prompt-sets.js'
import { chatTokens } from '../prompts/prompt-tokens.js'
import { TRAIT_PACK, type TraitPack } from '../prompts/trait-pack-yaml.js'
import { contextPrompts } from './context-prompts.js'
import { MeasurementPlan } from './measurement-plan.js'
import { Step0Cache } from './step0-cache.js'
import { refuseBesideSettling } from './stopping.js'

/** How checkpoints are measured; `measureRun` and `watchRun` share it. */
export interface MeasurementOptions {
  /** The pack whose evaluation prompts are read; it must be the one that the directions were made with. */
  pack: TraitPack
  /** Default: the model's own. */
  template?: ChatTemplate | undefined
  /** The layer that single-layer readers get; default the first of the directions. */
  layer?: number | undefined
  /** Measure although directions and model, template or pack do not match; the differences are recorded. */
  allowMismatch?: boolean | undefined
  /** The adapter to take where a folder holds several, by PEFT's name. */
  adapterName?: string | undefined
  /** How checkpoints meet the base. */
  checkpoint?: CheckpointOptions | undefined
  /** Factors on the adapter, above 0, to read every checkpoint at besides 1; a pass more for each. */
  strengths?: readonly number[] | undefined
  /** Read every checkpoint in these contexts too, against step 0 in the same; a pass more for each. */
  contexts?: ContextSet | undefined
  /**
   * Ask every checkpoint how probable it finds the answers of these pairs, too, as trained and in no context: see `trajectoryMargins`.
   * The model has to be open whole, and all of it runs for them.
   */
  margin?: MarginPairs | undefined
  /** Folder of the cache of step-0 states and merged models; false for none. Default {@link defaultCacheDir}. */
  cacheDir?: string | false | undefined
}

export const MEASUREMENT_OPTIONS: OptionKinds<MeasurementOptions> = {
  pack: new Needed(TRAIT_PACK),
  template: TEMPLATE,
  layer: 'number',
  allowMismatch: 'boolean',
  adapterName: 'string',
  checkpoint: CHECKPOINT_OPTIONS,
  strengths: 'numbers',
  contexts: CONTEXT_SET,
  margin: MARGIN_PAIRS,
  cacheDir: 'path',
}

/**
 * Checks that directions, model, template and pack belong together, and tokenizes the evaluation prompts.
 *
 * @throws TraitscopeError NOT_COMPARABLE with the reasons, TEMPLATE
 */
export async function prepareMeasurement(
  model: Model,
  directions: Directions,
  options: MeasurementOptions & { settle?: unknown },
): Promise<MeasurementPlan> {
  const { pack, layer, cacheDir } = options
  // From JavaScript, a pack's path is as likely as a pack.
  checkMade(model, MODEL)
  checkMade(pack, TRAIT_PACK)
  directions = takeMade(directions, DIRECTIONS)
  refuseUnfinite(directions)
  if (options.settle !== undefined) refuseBesideSettling(options)
  const template = options.template ?? ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement })
  const conditions = measurementConditions(model, template, pack, directions.conditions.pool)
  const mismatches = assertComparable(directions.conditions, conditions, options.allowMismatch)
  const primary = layer === undefined ? 0 : layerIndex(directions, layer)
  const { margin } = options
  if (margin !== undefined && model.readsUpTo !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      `expected the whole model, whose output head tells how probable answers are, found blocks 0 to ${model.readsUpTo}; open it without \`layers\` to read a margin`,
    )
  }
  const messages = evaluationPrompts(pack).map((prompt) => prompt.messages)
  if (messages.length === 0) {
    throw new TraitscopeError(
      'USAGE',
      `the trait pack ${pack.name} has no evaluation prompts (eval_prompts) to measure with`,
    )
  }
  const prompts = await chatTokens(model, template, messages)
  const contexts = options.contexts?.contexts ?? []
  const cache = cacheDir === false ? undefined : new Step0Cache(cacheDir ?? defaultCacheDir())
  return new MeasurementPlan({
    model,
    directions,
    pack,
    conditions,
    prompts,
    primary,
    mismatches,
    template,
    cache,
    checkpoint: options.checkpoint ?? {},
    strengths: amplifyingStrengths(options.strengths),
    contexts: await contextPrompts(model, template, messages, prompts, contexts),
    pairs: margin && (await pairPrompts(model, template, margin)),
  })
}

/** Files are checked as they are read; directions may also be made by hand. */
function refuseUnfinite({ vectors, layers, traits, nEmbd }: Directions): void {
  const length = layers.length * traits.length * nEmbd
  if (vectors.length === length && vectors.every(Number.isFinite)) return
  throw new TraitscopeError(
    'SHAPE',
    `expected directions of ${length} finite numbers (${layers.length} layers, ${traits.length} traits, ${nEmbd} wide), found ${vectors.length === length ? 'some that are not finite' : vectors.length}; make them again`,
  )
}
