import { mismatchesBetween } from '../conditions/comparable.js'
import { TraitscopeError } from '../errors.js'
import { isJsonObject } from '../formats/json/json.js'
import { isFiniteNumber, isIndex, isText, type JsonFields } from '../formats/json/json-fields.js'
import type { Exclusion, MeasuredRun } from '../runs/runs.js'
import type { MeasurementRecord, Trajectory } from '../trajectory/trajectory.js'
import { conditionality, contextReadings, type OrdinaryRuns, placeOf } from './conditional.js'

/**
 * What contexts do to ordinary runs, at some layers. That none of them is conditional is taken on trust.
 *
 * @param layers 0-based blocks
 * @returns undefined where no run was measured in contexts; runs that were not are left out
 */
export function ordinaryRuns(
  runs: readonly MeasuredRun[],
  layers: readonly number[],
): { ordinary: OrdinaryRuns | undefined; exclusions: Exclusion[] } {
  const found: OrdinaryRuns['runs'] = []
  const exclusions: Exclusion[] = []
  for (const { id, trajectory } of runs) {
    const missing = layers.filter((layer) => trajectory.layers.every((one) => one.layer !== layer))
    const read = missing.length === 0 ? contextReadings(trajectory, layers) : undefined
    if (read === undefined || read.some(({ readings }) => readings.length === 0)) {
      const reason =
        missing.length > 0
          ? `it was not measured at layer ${missing.join(', ')}`
          : 'it was not measured in contexts (--data, --context)'
      exclusions.push({ run: id, reason })
      continue
    }
    found.push({
      run: id,
      steps: read.map(({ step }) => placeOf(step)),
      values: read.map(({ readings }) => conditionality(readings).value),
    })
  }
  return { ordinary: found.length === 0 ? undefined : { layers: [...layers], runs: found }, exclusions }
}

/**
 * Checks that ordinary runs were measured as a run was: base, template, pack, directions and prompts.
 *
 * @throws TraitscopeError NOT_COMPARABLE naming the first that was not
 */
export function assertLike(run: Trajectory, ordinary: readonly MeasuredRun[]): void {
  const { measurement } = run
  for (const { id, trajectory } of ordinary) {
    const [how] =
      measurement && trajectory.measurement
        ? measuredUnlike(measurement, trajectory.measurement)
        : ['a file does not say with which base and directions it was measured']
    if (how === undefined) continue
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected ordinary runs that were measured as this one is, but of ${id} ${how}; measure them alike`,
    )
  }
}

function measuredUnlike(one: MeasurementRecord, other: MeasurementRecord): string[] {
  const different = mismatchesBetween(one.conditions, other.conditions, 'this run is measured')
  if (one.directionsSha256 !== other.directionsSha256) different.push('the directions are others')
  if (one.tokenIdsSha256 !== other.tokenIdsSha256) different.push('the prompts are tokenized otherwise')
  return different
}

/** Ordinary runs as a bundle keeps them. */
export function parseOrdinary(at: JsonFields): OrdinaryRuns {
  return {
    layers: at.list('layers', isIndex, 'blocks'),
    runs: at.list('runs', isRun, 'runs with a value at every step'),
  }
}

function isRun(value: unknown): value is OrdinaryRuns['runs'][number] {
  if (!isJsonObject(value)) return false
  const { run, steps, values } = value
  return (
    isText(run) &&
    Array.isArray(steps) &&
    Array.isArray(values) &&
    steps.length > 0 &&
    steps.length === values.length &&
    steps.every(isIndex) &&
    values.every(isFiniteNumber)
  )
}
