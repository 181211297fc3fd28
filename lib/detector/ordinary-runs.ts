import { checkEach } from '../arguments.js'
import { mismatchesBetween } from '../conditions/comparable.js'
import type { Conditions } from '../conditions/conditions.js'
import { TraitscopeError } from '../errors.js'
import { isJsonObject } from '../formats/json/json.js'
import { isFiniteNumber, isIndex, isText, type JsonFields } from '../formats/json/json-fields.js'
import { type Exclusion, MEASURED_RUN, type MeasuredRun } from '../runs/runs.js'
import { conditionality, contextReadings, type OrdinaryRuns } from './conditional.js'

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
  checkEach('runs', runs, MEASURED_RUN)
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
      highest: Math.max(...read.map(({ readings }) => conditionality(readings).value)),
    })
  }
  return { ordinary: found.length === 0 ? undefined : { layers: [...layers], runs: found }, exclusions }
}

/**
 * Checks that ordinary runs were measured as a run is: base, template, pack and directions.
 *
 * @param measured all that were looked at; those that do not count among the ordinary ones are not checked
 * @throws TraitscopeError NOT_COMPARABLE naming the first that was not
 */
export function assertLike(
  conditions: Conditions,
  directionsSha256: string,
  { runs: counted }: OrdinaryRuns,
  measured: readonly MeasuredRun[],
): void {
  const counts = new Set(counted.map(({ run }) => run))
  for (const { id, trajectory } of measured.filter((one) => counts.has(one.id))) {
    const { measurement } = trajectory
    const [how] = measurement
      ? [
          ...mismatchesBetween(conditions, measurement.conditions, 'this run is measured'),
          ...(measurement.directionsSha256 === directionsSha256 ? [] : ['the directions are others']),
        ]
      : ['the file does not say with which base and directions it was measured']
    if (how === undefined) continue
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected ordinary runs that were measured as this one is, but of ${id} ${how}; measure them alike`,
    )
  }
}

/** Ordinary runs as a bundle keeps them. */
export function parseOrdinary(at: JsonFields): OrdinaryRuns {
  return {
    layers: at.list('layers', isIndex, 'blocks'),
    runs: at.list('runs', isRun, 'runs with a number each'),
  }
}

const isRun = (value: unknown): value is OrdinaryRuns['runs'][number] =>
  isJsonObject(value) && isText(value.run) && isFiniteNumber(value.highest)
