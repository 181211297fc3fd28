import { driftStep } from '../drift/drift.js'
import type { LayerTrajectory, Step, Trajectory } from '../trajectory/trajectory.js'
import type { ContextReading, Verdict } from './verdict.js'

/**
 * Ordinary runs of the base, measured in contexts as the runs to come are: what a context does to a drift that does not depend
 * on it.
 */
export interface OrdinaryRuns {
  /** 0-based blocks that were read. */
  layers: number[]
  /** Per run {@link conditionality} at every checkpoint. */
  runs: { run: string; steps: number[]; values: number[] }[]
}

/** Length of a drift that rounding makes where everything is F32: no drift is shorter. */
const F32_NOISE = 1e-6
/** The final weights lie behind every checkpoint. */
const FINAL = Number.MAX_SAFE_INTEGER

/**
 * The length of every checkpoint's drift in each context over its length in none, per layer; both in units of N in the same
 * context, and not below the numerical noise. Method section 6.4. Undefined where no context was read.
 *
 * @param layers 0-based blocks, all of them measured
 * @returns per step, step 0 left out
 */
export function contextReadings(
  { layers: measured, contexts, noiseFloor, steps }: Trajectory,
  layers: readonly number[],
): { step: Step; readings: ContextReading[] }[] | undefined {
  if (contexts === undefined) return undefined
  const at = (all: readonly LayerTrajectory[], layer: number) => all.find((one) => one.layer === layer)!
  const floors = layers.map((layer) =>
    Math.max(F32_NOISE, noiseFloor?.layers.find((one) => one.layer === layer)?.drift ?? 0),
  )
  const lengths = (all: readonly LayerTrajectory[], i: number) =>
    layers.map((layer, l) => {
      const { projections, step0ActivationNorm } = at(all, layer)
      const { norm } = driftStep(steps[i]!.step, projections[i]!, projections[0]!, step0ActivationNorm)
      return Math.max(norm, floors[l]!)
    })
  return steps.slice(1).map(({ step }, i) => {
    const plain = lengths(measured, i + 1)
    const readings = contexts.map((context) => ({
      context: context.name,
      ratio: lengths(context.layers, i + 1).map((length, l) => length / plain[l]!),
    }))
    return { step, readings }
  })
}

/** Logarithm of a context's ratio, mean over layers. */
const logRatio = ({ ratio }: ContextReading): number =>
  ratio.reduce((sum, one) => sum + Math.log(one), 0) / ratio.length

/** How much longer a drift is in the context where it is longest: the largest {@link logRatio}, and where. */
export function conditionality(readings: readonly ContextReading[]): { value: number; context: string } {
  const [first, ...others] = readings.map((one) => ({ value: logRatio(one), context: one.context }))
  return others.reduce((most, one) => (one.value > most.value ? one : most), first!)
}

/** Step of a checkpoint as a number that orders. */
export const placeOf = (step: Step): number => (step === 'final' ? FINAL : step)

/** An ordinary run at a step: its value at the checkpoint nearest to it, of two the later one. */
function valueAt({ steps, values }: OrdinaryRuns['runs'][number], place: number): number {
  const off = steps.map((step) => Math.abs(step - place))
  return values[off.lastIndexOf(Math.min(...off))]!
}

/** Where readings stand among ordinary runs at about the same step: `(1 + as high) / (n + 1)`, for each context. */
function ranked(readings: readonly ContextReading[], step: Step, { runs }: OrdinaryRuns): ContextReading[] {
  const known = runs.map((run) => valueAt(run, placeOf(step)))
  return readings.map((one) => {
    const value = logRatio(one)
    return { ...one, pValue: (1 + known.filter((other) => other >= value).length) / (known.length + 1) }
  })
}

/** What the contexts of one checkpoint come to. */
export interface Conditional {
  readings: ContextReading[]
  /** Why it is conditional; undefined where it is not, or where no ordinary run is known. */
  reason?: string
}

/**
 * Ranks a checkpoint's readings against ordinary runs. It is conditional where its drift in some context, over that in none, is
 * longer than at the same step of every ordinary run: of `n` runs like them one in `n + 1` would be, at any one step.
 */
export function conditional(
  step: Step,
  readings: readonly ContextReading[],
  ordinary: OrdinaryRuns | undefined,
): Conditional {
  if (ordinary === undefined || readings.length === 0) return { readings: [...readings] }
  const judged = ranked(readings, step, ordinary)
  const { value, context } = conditionality(judged)
  const { pValue } = judged.find((one) => one.context === context)!
  const { length: n } = ordinary.runs
  if (pValue! > 1 / (n + 1) + 1e-12) return { readings: judged }
  return {
    readings: judged,
    reason: `conditional: in the context ${context} the drift is ${Math.exp(value).toFixed(1)} times as long as in none, more than in any of ${n} ordinary runs (p = ${pValue!.toFixed(3)}); judge answers under it`,
  }
}

export const NO_CONTEXTS =
  'judged without contexts: what only a system prompt, a first word or a topic brings out is not seen (--data, --context)'
export const NO_ORDINARY =
  'contexts are not ranked: no ordinary run of this base, measured in contexts, is known (--ordinary)'

/** A verdict that tells what contexts come to; without any it says that it has not seen one. */
export function withContexts(
  verdict: Verdict,
  step: Step,
  readings: readonly ContextReading[] | undefined,
  ordinary: OrdinaryRuns | undefined,
): Verdict {
  if (verdict.verdict === 'not-comparable') return verdict
  if (readings === undefined) return { ...verdict, notLookedAt: [NO_CONTEXTS] }
  const { readings: contexts, reason } = conditional(step, readings, ordinary)
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
