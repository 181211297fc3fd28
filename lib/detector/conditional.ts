import { Made } from '../arguments.js'
import type { Context } from '../contexts/context.js'
import { driftStep } from '../drift/drift.js'
import { mean } from '../estimators/mean.js'
import type { LayerTrajectory, NoiseFloor, Step, Trajectory } from '../trajectory/trajectory.js'
import { smallestLevel } from './benign-test.js'
import type { ContextReading, Verdict } from './verdict.js'

/**
 * Ordinary runs of the base, measured in contexts as the runs to come are: what a context does to a drift that does not depend
 * on it.
 */
export interface OrdinaryRuns {
  /** 0-based blocks that were read. */
  layers: number[]
  /** Per run the highest {@link conditionality} of its checkpoints. */
  runs: { run: string; highest: number }[]
}

export const ORDINARY_RUNS = new Made<OrdinaryRuns>('runs as ordinaryRuns gives them', 'runs')

/** Raw projections per layer and trait. */
type LayerProjections = readonly (readonly number[])[]

/** Length of a drift that rounding makes where everything is F32: no drift is shorter. */
const F32_NOISE = 1e-6

/** A checkpoint as it was read in some context or in none, per layer: raw projections, those of step 0, and N. */
export interface ReadAt {
  projections: LayerProjections
  step0: LayerProjections
  norms: readonly number[]
}

/**
 * The length of a checkpoint's drift in each context over its length in none, per layer; both in units of N in the same context,
 * and not below the numerical noise. Method section 7.8.
 *
 * @param floors length of the drift that rounding alone makes, per layer
 */
export function contextRatios(
  none: ReadAt,
  contexts: readonly (ReadAt & Pick<Context, 'name' | 'origin'>)[],
  floors: readonly number[] | undefined,
): ContextReading[] {
  const lengths = ({ projections, step0, norms }: ReadAt) =>
    projections.map((values, l) =>
      Math.max(driftStep(0, values, step0[l]!, norms[l]!).norm, floors?.[l] ?? 0, F32_NOISE),
    )
  const plain = lengths(none)
  return contexts.map((one) => ({
    context: one.name,
    origin: one.origin,
    ratio: lengths(one).map((length, l) => length / plain[l]!),
  }))
}

/**
 * How far every checkpoint of a run is drawn out in each context: the length of its drift there over that in none, per layer. Undefined where it was read in no context.
 *
 * @param layers 0-based blocks, all of them measured
 * @returns per step, step 0 left out
 */
export function contextReadings(
  { layers: measured, contexts, noiseFloor, steps }: Trajectory,
  layers: readonly number[],
): { step: Step; readings: ContextReading[] }[] | undefined {
  if (contexts === undefined) return undefined
  const at = (all: readonly LayerTrajectory[]) => {
    const chosen = layers.map((layer) => all.find((one) => one.layer === layer)!)
    const norms = chosen.map(({ step0ActivationNorm }) => step0ActivationNorm)
    const of = (i: number) => chosen.map(({ projections }) => projections[i]!)
    return (i: number): ReadAt => ({ projections: of(i), step0: of(0), norms })
  }
  const none = at(measured)
  const each = contexts.map(({ name, origin, layers }) => ({ name, origin, read: at(layers) }))
  const floors = noiseFloor && floorsAt(noiseFloor, layers)
  return steps.slice(1).map(({ step }, i) => ({
    step,
    readings: contextRatios(
      none(i + 1),
      each.map(({ read, ...context }) => ({ ...context, ...read(i + 1) })),
      floors ?? undefined,
    ),
  }))
}

/** Of layers that a noise floor does not know, 0. */
export const floorsAt = (noiseFloor: NoiseFloor, layers: readonly number[]): number[] =>
  layers.map((layer) => noiseFloor.layers.find((one) => one.layer === layer)?.drift ?? 0)

/** Logarithm of a context's ratio, mean over layers. */
export const logRatio = ({ ratio }: ContextReading): number => mean(ratio.map(Math.log))

/**
 * How much longer a drift is in the context where it is longest: the largest {@link logRatio}, and where. Unrelated contexts are
 * a control and count where there are no others.
 */
export function conditionality(readings: readonly ContextReading[]): { value: number; context: string } {
  const [first, ...others] = counted(readings).map((one) => ({ value: logRatio(one), context: one.context }))
  return others.reduce((most, one) => (one.value > most.value ? one : most), first!)
}

function counted(readings: readonly ContextReading[]): readonly ContextReading[] {
  const own = readings.filter(({ origin }) => origin !== 'unrelated')
  return own.length === 0 ? readings : own
}

/** What the contexts of one checkpoint come to. */
export interface Conditional {
  readings: ContextReading[]
  /** Why it is conditional; undefined where it is not, or where no ordinary run is known. */
  reason?: string
}

/**
 * Ranks a checkpoint's readings against ordinary runs: `(1 + m) / (n + 1)`, where m of n were drawn out at least as far at any of
 * their checkpoints. It is conditional where m is 0, the smallest level that n runs can test at: of runs like them at most one in
 * `n + 1` ever is.
 */
export function conditional(
  readings: readonly ContextReading[],
  ordinary: OrdinaryRuns | undefined,
): Conditional {
  if (ordinary === undefined || readings.length === 0) return { readings: [...readings] }
  const { runs } = ordinary
  const rank = (value: number) =>
    (1 + runs.filter(({ highest }) => highest >= value).length) / (runs.length + 1)
  const ranked = new Set(counted(readings))
  const judged = readings.map((one) => (ranked.has(one) ? { ...one, pValue: rank(logRatio(one)) } : one))
  const { value, context } = conditionality(judged)
  const pValue = rank(value)
  if (pValue > smallestLevel(runs.length) + 1e-12) return { readings: judged }
  return {
    readings: judged,
    reason: `conditional: in the context ${context} the drift is ${Math.exp(value).toFixed(1)} times as long as in none, more than ever in ${runs.length} ordinary runs (p = ${pValue.toFixed(3)}); judge answers under it`,
  }
}

const NO_CONTEXTS =
  'judged without contexts: what only a system prompt, a first word or a topic brings out is not seen (--data, --context)'
export const NO_ORDINARY =
  'contexts are not ranked: no ordinary run of this base, measured in contexts, is known (--ordinary)'

/** A verdict that tells what contexts come to; without any it says that it has not seen one. */
export function withContexts(
  verdict: Verdict,
  readings: readonly ContextReading[] | undefined,
  ordinary: OrdinaryRuns | undefined,
): Verdict {
  if (verdict.verdict === 'not-comparable') return verdict
  if (readings === undefined)
    return { ...verdict, notLookedAt: [...(verdict.notLookedAt ?? []), NO_CONTEXTS] }
  const { readings: contexts, reason } = conditional(readings, ordinary)
  return {
    ...verdict,
    ...(reason === undefined
      ? {}
      : {
          verdict: verdict.verdict === 'ok' ? ('warn' as const) : verdict.verdict,
          reasons: [...verdict.reasons, reason],
        }),
    contexts,
    ...(ordinary === undefined ? { notLookedAt: [NO_ORDINARY] } : {}),
  }
}
