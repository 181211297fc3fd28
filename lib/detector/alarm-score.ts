import { TraitscopeError } from '../errors.js'
import type { LinearScore } from '../estimators/grouped-ridge.js'
import { Isotonic } from '../estimators/isotonic.js'
import { dot } from '../estimators/linalg.js'
import { Ridge } from '../estimators/ridge.js'
import { Standardizer } from '../estimators/standardizer.js'
import { sha256 } from '../formats/files/hash.js'
import { isJsonObject } from '../formats/json/json.js'
import type { Json } from '../formats/json/json-fields.js'
import type { Detector } from './detector.js'
import { FAR_RANGE_BEGINS } from './far-range.js'

/**
 * The one number that an alarm is decided by where there is one: linear in the drifts at the detector's layers, each in trait order, side
 * by side, and so a mean over prompts, as a drift is.
 */
export interface AlarmScore extends LinearScore {
  /** The highest score whose rate is not above this one. */
  boundOf: (rate: number) => number
  /** SHA-256 of all of it. */
  sha256: string
}

/** Scores that no drift of a prompt comes near. */
const FURTHEST = 100

/**
 * The score behind a detector's alarm.
 *
 * @throws TraitscopeError UNSUPPORTED, with the reason, for a detector whose alarm is not decided by one
 */
export function alarmScore(detector: Detector): AlarmScore {
  const { levelModel, stepAlarm } = detector.toJSON()
  const [member, ...others] = levelModel.members
  if (others.length > 0 || !isJsonObject(member) || !LINEAR.includes(member.estimator))
    return notSettled(
      `its rate is told by ${MODELS[levelModel.model] ?? 'several models'}, not by one that is linear in the drift`,
    )
  if (stepAlarm !== null)
    return notSettled('beyond the calibrated steps its alarm is decided by the drift per step')
  const { standardizer, ridge, map, far } = (member.inner ?? member) as Json
  if (far !== undefined && detector.threshold >= FAR_RANGE_BEGINS)
    return notSettled('rates as high as its threshold are told by a second model')
  const { mean, scale } = Standardizer.fromJSON(standardizer).toJSON().fitted!
  const { weights: fitted, intercept } = Ridge.fromJSON(ridge).toJSON().fitted!
  const slopes = Float64Array.from(fitted, (weight, f) => weight / scale[f]!)
  const read = member.read as number[][] | undefined
  const through = (i: number) =>
    dot(
      slopes,
      read!.map((row) => row[i]!),
    )
  const weights = read ? Float64Array.from(read[0]!, (_, i) => through(i)) : slopes
  const start = intercept - dot(slopes, mean)
  const rates = Isotonic.fromJSON(map)
  const boundOf = (rate: number) => {
    let [low, high] = [-FURTHEST, FURTHEST]
    while (high - low > 1e-9) {
      const middle = (low + high) / 2
      if (rates.predict([middle])[0]! > rate) high = middle
      else low = middle
    }
    return low
  }
  return { weights, intercept: start, boundOf, sha256: sha256(JSON.stringify([[...weights], start, map])) }
}

const LINEAR: unknown[] = ['saturating-ridge', 'read-through']

const MODELS: Partial<Record<string, string>> = {
  blend: 'a forest beside a ridge',
  'random-forest': 'a forest',
  'gradient-boosting': 'boosted trees',
  pooled: 'a model of the base alone beside that of other bases',
}

/** @throws TraitscopeError UNSUPPORTED */
export function notSettled(why: string, next = 'measure without --settle'): never {
  throw new TraitscopeError(
    'UNSUPPORTED',
    `expected an alarm that a part of the prompts settles, but ${why}; ${next}`,
  )
}
