import { basename } from 'node:path'
import { contextRatios, floorsAt, type ReadAt } from '../detector/conditional.js'
import { tellMargin, unlikeTest } from '../detector/margin-test.js'
import { type RunVerdictOptions, RunVerdicts, type VerdictSource } from '../detector/run-verdicts.js'
import { measuredPrior, settlingIn } from '../detector/settling-in.js'
import { trainedBy } from '../detector/trained-by.js'
import type { ContextReading, Verdict } from '../detector/verdict.js'
import { driftStep } from '../drift/drift.js'
import { TraitscopeError } from '../errors.js'
import type { BaselineEvent, CheckpointEvent } from '../events/watch-events.js'
import type { CheckpointKind } from '../formats/run/checkpoint-folder.js'
import { type MarginChange, marginsOf } from '../labels/margins/margins.js'
import { pairsRead } from '../labels/margins/pair-reading.js'
import type { BaseMeasurement, CheckpointMeasurement } from '../trajectory/measurement.js'
import type { MeasurementPlan } from '../trajectory/measurement-plan.js'
import type { Projection } from '../trajectory/project.js'
import type { StopRule } from '../trajectory/stopping.js'
import type { NoiseFloor, Step } from '../trajectory/trajectory.js'
import type { WatchRunOptions } from './watch-options.js'
import { watchedUnder } from './watched-under.js'

type Measured = Pick<
  CheckpointEvent,
  | 'adapterSha256'
  | 'adapter'
  | 'stateChange'
  | 'projections'
  | 'drift'
  | 'strengths'
  | 'primary'
  | 'settled'
  | 'margin'
  | 'tokens'
  | 'verdict'
>

/** Measures checkpoints of any run of one base, and says what they mean. */
export class Measurer {
  readonly #verdicts: RunVerdicts | undefined
  readonly #rule: StopRule | undefined
  readonly conditions: string

  constructor(
    readonly plan: MeasurementPlan,
    private readonly base: BaseMeasurement,
    private readonly noiseFloor: NoiseFloor | null,
    private readonly options: Pick<
      WatchRunOptions,
      'bundle' | 'prior' | 'ordinary' | 'allowMismatch' | 'settle'
    >,
  ) {
    const { bundle, prior, ordinary, allowMismatch, settle } = options
    this.conditions = watchedUnder(plan, { bundle, prior, settle })
    const by = bundle ?? (prior && measuredPrior(prior, plan.measuredBase(base)))
    if (!by && plan.contexts.length > 0) {
      throw new TraitscopeError(
        'USAGE',
        'expected a bundle or a prior to watch in contexts, found neither (--no-prior): contexts are told in verdicts',
      )
    }
    const unlike = bundle && unlikeTest(bundle, plan.pairs)
    if (unlike !== undefined) throw new TraitscopeError('NOT_COMPARABLE', unlike)
    const categories = { of: plan.categories, step0: plan.byCategory(base.states) }
    const told = { allowMismatch, noiseFloor, categories }
    this.#verdicts = by && verdictsOf({ ...by, ...(ordinary && { ordinary }) }, plan, base, told)
    if (settle !== undefined) this.#rule = settlingIn(plan.measuredBase(base), by, settle)
  }

  /** The same on the base opened again: step 0 stays as it was measured. */
  with(plan: MeasurementPlan): Measurer {
    return new Measurer(plan, this.base, this.noiseFloor, this.options)
  }

  /** Whether a part of the prompts may settle a verdict. */
  get settles(): boolean {
    return this.#rule !== undefined
  }

  /** What a watch of a run begins with. */
  get baseline(): Omit<BaselineEvent, 'resumed' | 'setAside'> {
    const { plan, base, noiseFloor } = this
    const { layers, activationNorms, cached, tokens } = base
    const plain = this.#verdicts?.verdict(0, meansOf(layers), activationNorms)
    // Of step 0 a margin is 0 and no news, unless benign runs decide by it.
    const verdict = plain && (this.options.bundle?.marginTest ? this.#tell(plain, this.#margin(base)) : plain)
    return {
      type: 'baseline',
      base: { file: basename(plan.model.path), fingerprint: plan.conditions.base.fingerprint },
      traits: plan.directions.traits,
      layers: plan.directions.layers,
      projections: layers,
      activationNorms,
      cached,
      tokens,
      noiseFloor,
      ...(plan.pairs && { margin: pairsRead(plan.pairs, base.pairs!.tokens) }),
      conditions: this.conditions,
      ...(verdict && { verdict }),
    }
  }

  /**
   * @param options.below what part of the threshold counts as below where a part of the prompts is to settle it; default 1
   * @throws as `MeasurementPlan.measureCheckpoint`
   */
  async measure(
    step: Step,
    weights: Parameters<MeasurementPlan['measureCheckpoint']>[0] & { learningRate?: number | undefined },
    { below, ...options }: Parameters<MeasurementPlan['measureCheckpoint']>[2] & { below?: number } = {},
  ): Promise<CheckpointMeasurement & { told: Measured }> {
    const stopping = this.#rule?.begin(this.plan.prompts.length, below)
    const measured = await this.plan.measureCheckpoint(weights, this.base, { ...options, stopping })
    return { ...measured, told: this.#told(step, measured, weights) }
  }

  #inContexts({ layers, contexts }: CheckpointMeasurement): ContextReading[] {
    const { plan, base, noiseFloor } = this
    const at = (
      measured: Pick<CheckpointMeasurement, 'layers'>,
      from: Pick<BaseMeasurement, 'layers' | 'activationNorms'>,
    ): ReadAt => ({
      projections: meansOf(measured.layers),
      step0: meansOf(from.layers),
      norms: from.activationNorms,
    })
    const read = plan.contexts.map(({ name, origin }, c) => ({
      ...{ name, origin },
      ...at(contexts[c]!, base.contexts[c]!),
    }))
    const floors = noiseFloor ? floorsAt(noiseFloor, plan.directions.layers) : undefined
    return contextRatios(at({ layers }, base), read, floors)
  }

  #tell(verdict: Verdict, margin: MarginChange | undefined): Verdict {
    return tellMargin(verdict, margin, this.options.bundle ?? {}, this.plan.pairs)
  }

  #margin({ pairs }: Pick<CheckpointMeasurement, 'pairs'>): MarginChange | undefined {
    const { plan, base } = this
    return pairs && marginsOf(0, plan.pairs!.pairs, pairs, base.pairs!).all
  }

  #told(
    step: Step,
    measured: CheckpointMeasurement,
    { kind, learningRate }: { kind: CheckpointKind; learningRate?: number | undefined },
  ): Measured {
    const { plan, base } = this
    const { adapter, adapterSha256, layers, stateChange, strengths, tokens, settled } = measured
    const driftOf = (of: readonly Projection[]) =>
      of.map(({ mean }, l) => driftStep(step, mean, base.layers[l]!.mean, base.activationNorms[l]!))
    const amplified = strengths.map(({ strength, layers }) => ({ strength, projections: meansOf(layers) }))
    const run = { fullFinetune: kind === 'model', lr: learningRate ?? null }
    const trained = trainedBy(run, { adapter, remarks: measured.remarks })
    const margin = this.#margin(measured)
    const plain = this.#verdicts?.verdict(
      step,
      meansOf(layers),
      base.activationNorms,
      amplified,
      trained,
      plan.contexts.length > 0 ? this.#inContexts(measured) : undefined,
      settled ? undefined : plan.byCategory(measured.states),
      settled,
    )
    const verdict = plain && this.#tell(plain, margin)
    return {
      adapterSha256,
      ...(adapter ? { adapter } : {}),
      stateChange,
      projections: layers,
      drift: driftOf(layers),
      ...(strengths.length > 0 && {
        strengths: strengths.map(({ strength, layers, stateChange }) => ({
          strength,
          projections: layers,
          drift: driftOf(layers),
          stateChange,
        })),
      }),
      primary: plan.primary,
      ...(settled && { settled }),
      ...(margin && { margin }),
      tokens,
      ...(verdict && { verdict }),
    }
  }
}

function verdictsOf(
  bundle: VerdictSource,
  { directions, measuredUnder }: MeasurementPlan,
  base: BaseMeasurement,
  options: RunVerdictOptions,
): RunVerdicts {
  if (directions.sha256 !== bundle.directions.sha256) {
    throw new TraitscopeError('USAGE', "watch with the bundle's own directions: bundle.directions")
  }
  const verdicts = new RunVerdicts(bundle, measuredUnder, meansOf(base.layers), options)
  if (verdicts.refused.length > 0) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `${verdicts.refused.join('; ')}; calibrate for these conditions, or allow the mismatch (--allow-mismatch)`,
    )
  }
  return verdicts
}

const meansOf = (layers: readonly Projection[]): number[][] => layers.map(({ mean }) => mean)
