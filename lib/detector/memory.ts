import { isFiniteNumber, isText, type JsonFields } from '../formats/json/json-fields.js'
import type { HeldOutError } from './prediction-bands.js'

/** The calibration checkpoints as a detector keeps them: for its intervals and its guard. */
export interface DetectorMemory {
  /** Drifts at the detector's layers, side by side, one row per checkpoint. */
  features: number[][]
  /** Fine-tuning set of each. */
  datasets: string[]
  /** Rate predicted without the checkpoint's set, and the labelled rate. */
  errors: [predicted: number, actual: number][]
  /** Of a detector that learned from other bases too; absent in others. */
  prior?: PriorErrors
}

/** What a detector predicted of runs of other bases that it had not seen. */
export interface PriorErrors {
  /**
   * Rate predicted without the checkpoint's base, labelled rate, a number of its base and set, and one of its base; bundles that were
   * calibrated before bases were told apart lack the last.
   */
  errors: [predicted: number, actual: number, group: number, base?: number][]
  /** As many sets of the base's own do all of them count for. */
  weight: number
}

/** There are none where one other base alone is known: nobody was left to predict it. */
function priorErrors(at: JsonFields): PriorErrors {
  const { weight, errors } = at.json
  const none = Array.isArray(errors) && errors.length === 0
  return {
    errors: none ? [] : at.list('errors', isPriorError, 'two rates and two numbers'),
    weight: isFiniteNumber(weight) && weight > 0 ? weight : at.fail('weight', 'a positive number'),
  }
}

/** All errors that intervals come from; other bases share their weight alike, and the sets of one share its part. */
export function heldOutErrors(
  { datasets, errors, prior }: DetectorMemory,
  distances: readonly number[],
): HeldOutError[] {
  const setsOf = new Map<number, Set<number>>()
  for (const [, , group, base = group] of prior?.errors ?? [])
    setsOf.set(base, (setsOf.get(base) ?? new Set()).add(group))
  return [
    ...errors.map(([predicted, actual], i) => ({
      predicted,
      actual,
      group: `own ${datasets[i]}`,
      distance: distances[i]!,
    })),
    ...(prior?.errors ?? []).map(([predicted, actual, group, base = group]) => ({
      predicted,
      actual,
      group: `prior ${group}`,
      base: `prior ${base}`,
      weight: prior!.weight / setsOf.size / setsOf.get(base)!.size,
    })),
  ]
}

/** The `memory` of detector.json; FILE_INVALID names the field. Without a checkpoint of its own there is a prior. */
export function parseMemory(at: JsonFields, width: number): DetectorMemory {
  const prior = at.json.prior === undefined ? undefined : priorErrors(at.object('prior'))
  const list = <T>(key: string, check: (value: unknown) => value is T, of: string): T[] => {
    const value = at.json[key]
    return prior && Array.isArray(value) && value.length === 0 ? [] : at.list(key, check, of)
  }
  const features = list('features', isRowOf(width), `rows of ${width} numbers`)
  const memory: DetectorMemory = {
    features,
    datasets: list('datasets', isText, 'dataset names'),
    errors: list('errors', isRowOf(2), 'pairs of rates') as [number, number][],
    ...(prior ? { prior } : {}),
  }
  for (const key of ['datasets', 'errors'] as const) {
    if (memory[key].length !== features.length) at.fail(key, `a list of ${features.length} entries`)
  }
  return memory
}

const isPriorError = (value: unknown): value is PriorErrors['errors'][number] =>
  isRowOf(4)(value) || isRowOf(3)(value)
const isRowOf =
  (width: number) =>
  (value: unknown): value is number[] =>
    Array.isArray(value) && value.length === width && value.every(isFiniteNumber)
