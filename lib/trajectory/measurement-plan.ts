import { dirname } from 'node:path'
import type { MeasuredUnder } from '../conditions/calibrated-for.js'
import type { Conditions } from '../conditions/conditions.js'
import { type EngineConditions, engineConditions } from '../conditions/engine.js'
import { readingRemarks } from '../conditions/reading-remarks.js'
import type { Directions } from '../directions/directions.js'
import { TraitscopeError } from '../errors.js'
import { isTensorFile } from '../formats/peft/peft.js'
import type { FoundWeights } from '../formats/run/find-weights.js'
import { type HiddenStates, hiddenStates } from '../hidden-states/hidden-states.js'
import { allPairsRemarks, type PairPrompts, scorePairs } from '../labels/margins/pair-reading.js'
import { openCheckpoint } from '../model/checkpoint/open-checkpoint.js'
import type { CheckpointOptions } from '../model/checkpoint/opened-checkpoint.js'
import { atStrengths, type OnModel } from '../model/checkpoint/strengths.js'
import { adapterNorms } from '../model/lora/lora-norm.js'
import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import { templateRemark } from '../prompts/own-template.js'
import { tokenHash } from '../prompts/prompt-tokens.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'
import type { ContextPrompts } from './context-prompts.js'
import type { BaseMeasurement, CheckpointMeasurement, ContextMeasurement } from './measurement.js'
import { type PassOptions, passesOf } from './passes.js'
import { Projector } from './projector.js'
import { Step0 } from './step0.js'
import type { Step0Cache } from './step0-cache.js'
import { type MeasuredBase, type PartialStates, pickRows, readInParts, type Stopping } from './stopping.js'
import { summarize } from './summarize-adapter.js'
import type { NoiseFloor, PromptCategory } from './trajectory.js'

/** @internal */
interface PlanParts {
  model: Model
  directions: Directions
  pack: TraitPack
  conditions: Conditions
  prompts: readonly Int32Array[]
  primary: number
  mismatches: readonly string[]
  template: ChatTemplate
  cache: Step0Cache | undefined
  checkpoint: CheckpointOptions
  strengths: readonly number[]
  contexts: readonly ContextPrompts[]
  pairs: PairPrompts | undefined
}

/**
 * A base model, directions and tokenized evaluation prompts that have been found to belong together; measures
 * step 0 and any number of checkpoints under the same conditions. Make one with {@link prepareMeasurement}.
 */
export class MeasurementPlan {
  readonly model: Model
  readonly directions: Directions
  readonly pack: TraitPack
  readonly conditions: Conditions
  readonly prompts: readonly Int32Array[]
  readonly tokenIdsSha256: string
  /** Index of the primary layer on the layer axis. */
  readonly primary: number
  readonly mismatches: readonly string[]
  readonly #projector: Projector
  readonly #template: ChatTemplate
  readonly #cacheDir: string | undefined
  readonly #checkpoint: CheckpointOptions
  /** Factors on the adapter that every checkpoint is read at besides 1. */
  readonly strengths: readonly number[]
  /** Contexts that every checkpoint is read in besides none. */
  readonly contexts: readonly ContextPrompts[]
  /** Identity of their token ids; null where there is none. */
  readonly contextsSha256: string | null
  /** Pairs of answers that every checkpoint is asked the probability of. */
  readonly pairs: PairPrompts | undefined
  readonly #step0: Step0

  /** @internal */
  constructor(parts: PlanParts) {
    this.model = parts.model
    this.directions = parts.directions
    this.#projector = new Projector(parts.directions)
    this.pack = parts.pack
    this.conditions = parts.conditions
    this.prompts = parts.prompts
    this.tokenIdsSha256 = tokenHash(parts.prompts)
    this.primary = parts.primary
    this.mismatches = parts.mismatches
    this.#template = parts.template
    this.#cacheDir = parts.cache?.folder
    this.#checkpoint = parts.checkpoint
    this.strengths = parts.strengths
    this.contexts = parts.contexts
    const ids = parts.contexts.flatMap(({ prompts }) => prompts)
    this.contextsSha256 = ids.length > 0 ? tokenHash(ids) : null
    this.pairs = parts.pairs
    const { model, conditions, directions, cache } = parts
    this.#step0 = new Step0(model, conditions, directions, this.#projector, cache)
  }

  /** What these measurements say of themselves. */
  get measuredUnder(): MeasuredUnder {
    const { conditions, directions, tokenIdsSha256, model } = this
    return {
      conditions,
      directionsSha256: directions.sha256,
      tokenIdsSha256,
      device: model.device,
      engine: this.engine,
    }
  }

  /** How states are computed. */
  get engine(): EngineConditions {
    return engineConditions(this.model, this.prompts)
  }

  /** What a reader of the numbers has to know, in sentences. */
  get remarks(): string[] {
    return [...readingRemarks(this.model, this.prompts), ...(this.pairs ? allPairsRemarks(this.pairs) : [])]
  }

  /** `[nPrompts, nLayers, nEmbd]` of every measurement. */
  get shape(): [number, number, number] {
    return [this.prompts.length, this.directions.layers.length, this.directions.nEmbd]
  }

  /** Measures the bare base, in every context too, from the cache if the very same pass was made before. */
  async measureBase(options: PassOptions = {}): Promise<BaseMeasurement> {
    const passes = this.#passes(options, 0)
    const base = await this.#step0.states(this.prompts, passes.asTrained)
    const inContexts: BaseMeasurement['contexts'] = []
    for (const [c, { prompts }] of this.contexts.entries()) {
      const { states: _, ...measured } = await this.#step0.states(prompts, passes.inContext(c))
      inContexts.push(measured)
    }
    const pairs = this.pairs && (await this.#step0.pairs(this.pairs, passes.pairs))
    return { ...base, contexts: inContexts, ...(pairs && { pairs }) }
  }

  /** What a stop rule is made from. */
  measuredBase({ activationNorms, layers }: BaseMeasurement): MeasuredBase {
    const { directions, measuredUnder, prompts } = this
    const base = directions.layers.map((layer, l) => ({
      layer,
      activationNorm: activationNorms[l]!,
      projections: layers[l]!.mean,
    }))
    return { directions, measured: { ...measuredUnder, nPrompts: prompts.length }, base }
  }

  /**
   * What rounding alone makes of a drift at the layers of the directions; null where nothing is rounded. Kept in the
   * cache as step 0 is.
   */
  measureNoise(
    base: BaseMeasurement,
    { signal }: Pick<PassOptions, 'signal'> = {},
  ): Promise<NoiseFloor | null> {
    return this.#step0.noise(this.prompts, base, signal)
  }

  /**
   * Opens a checkpoint, measures, closes it.
   *
   * @param weights where they are, as a scan of the run has found them
   * @param options.stopping reads prompts part by part and ends when it says so; not with strengths or contexts
   * @param options.folders that may hold the chat template of its training, beside that of its weights
   * @throws TraitscopeError ADAPTER_NO_EFFECT when the states at the primary layer are those of the base to
   * the last bit: an adapter that never reaches what is read would otherwise pass as harmless. Else as
   * `openCheckpoint`.
   */
  async measureCheckpoint(
    weights: Pick<FoundWeights, 'path' | 'kind'>,
    base: BaseMeasurement,
    options: PassOptions & { folders?: readonly string[]; stopping?: Stopping | undefined } = {},
  ): Promise<CheckpointMeasurement> {
    const { path } = weights
    const open = (strength: number) =>
      openCheckpoint(this.model, weights, {
        ...this.#checkpoint,
        strength,
        cacheDir: this.#cacheDir,
        signal: options.signal,
      })
    await using checkpoint = await open(1)
    const { peft, report, reason } = checkpoint
    const passes = this.#passes(options, this.strengths.length)
    // The norms are computed here while the model computes elsewhere.
    const [{ data, tokens, rows, settled }, norms] = await Promise.all([
      this.#read(checkpoint, base, passes.asTrained, options.stopping),
      peft && report ? adapterNorms(peft.modules, report.architecture, options.signal) : undefined,
    ])
    const folders = [isTensorFile(path) ? dirname(path) : path, ...(options.folders ?? [])]
    const otherTemplate = await templateRemark(folders, this.#template.source)
    const before = rows ? pickRows(base.states, rows, this.#projector.size) : base.states
    const stateChange = this.#projector.stateChange(data, before)
    // Weights that are all zero count whatever the states say: a merged copy of a quantised base, for one, computes with
    // other kernels.
    if (stateChange[this.primary] === 0 || report?.allZero) {
      throw new TraitscopeError(
        'ADAPTER_NO_EFFECT',
        `the checkpoint ${path} changes nothing at block ${this.directions.layers[this.primary]}` +
          (report?.allZero
            ? ': all its weights are zero or its alpha is'
            : '; it changes later blocks only, so read a later layer'),
      )
    }
    const strengths = await atStrengths(checkpoint, this.strengths, open, async (at, strength) => {
      const amplified = await this.#pass(at, passes.amplified(this.strengths.indexOf(strength)))
      return {
        strength,
        layers: this.#projector.layers(amplified.data),
        stateChange: this.#projector.stateChange(amplified.data, base.states),
      }
    })
    const contexts: ContextMeasurement[] = []
    for (const [c, { prompts }] of this.contexts.entries()) {
      const read = await this.#pass(checkpoint, passes.inContext(c), prompts)
      contexts.push({ layers: this.#projector.layers(read.data), tokens: read.tokens })
    }
    const pairs = this.pairs && (await scorePairs(checkpoint, this.pairs, passes.pairs))
    return {
      states: data,
      layers: rows ? this.#projector.change(data, before, base) : this.#projector.layers(data),
      ...(settled ? { settled } : {}),
      tokens,
      strengths,
      contexts,
      ...(pairs && { pairs }),
      adapterSha256: checkpoint.sha256,
      how: checkpoint.how,
      stateChange,
      files: checkpoint.files,
      remarks: [
        ...checkpoint.remarks,
        ...(otherTemplate === undefined ? [] : [otherTemplate]),
        ...(rows ? [PARTLY_READ] : []),
      ],
      ...(peft && report
        ? {
            adapter: {
              ...summarize(peft, report),
              ...norms,
              ...(reason === undefined ? {} : { merged: reason }),
            },
          }
        : {}),
    }
  }

  /** All prompts in one pass, or in parts until enough is known; never so little that the checkpoint seems to change nothing. */
  async #read(
    on: OnModel & { sha256: string },
    base: BaseMeasurement,
    options: PassOptions,
    stopping: Stopping | undefined,
  ): Promise<PartialStates> {
    if (stopping === undefined)
      return { ...(await this.#pass(on, options)), rows: undefined, settled: undefined }
    let changes = false
    const read = (at: readonly number[], done: number) => {
      const { signal, onProgress } = options
      const part = at.length / this.prompts.length
      const told = onProgress && ((fraction: number) => onProgress(done + fraction * part))
      return this.#pass(
        on,
        { signal, onProgress: told },
        at.map((i) => this.prompts[i]!),
      )
    }
    return readInParts(on.sha256, this.shape, read, (data, at) => {
      const before = pickRows(base.states, at, this.#projector.size)
      changes ||= this.#projector.stateChange(data, before)[this.primary]! > 0
      const settled = stopping.take(this.#projector.drifts(data, before, base))
      return changes ? settled : undefined
    })
  }

  #pass(
    { model, adapter }: OnModel,
    { signal, onProgress }: PassOptions,
    prompts = this.prompts,
  ): Promise<HiddenStates> {
    return hiddenStates(model, prompts, {
      layers: this.directions.layers,
      pool: this.conditions.pool,
      adapter,
      signal,
      onProgress,
    })
  }

  /** The categories of the evaluation prompts, in the order of the states. */
  get categories(): PromptCategory[] {
    return this.pack.evalPrompts.map(({ category, prompts }) => ({ category, prompts: prompts.length }))
  }

  /** Per layer and category the mean projections of a measurement, in trait order. */
  byCategory(states: Float32Array): number[][][] {
    const sizes = this.categories.map(({ prompts }) => prompts)
    return this.#projector.groups(states, sizes)
  }

  /** What each pass is told, of a measurement at so many further strengths. */
  #passes(options: PassOptions, strengths: number) {
    const { length: contexts } = this.contexts
    const at = passesOf(options, 1 + strengths + contexts + (this.pairs ? 1 : 0))
    return {
      asTrained: at(0),
      amplified: (s: number) => at(1 + s),
      inContext: (c: number) => at(1 + strengths + c),
      pairs: at(1 + strengths + contexts),
    }
  }
}

const PARTLY_READ =
  'a part of the prompts was read, until the verdict was settled: drift, spread and state change are those of that part'
