import { TraitscopeError } from '../errors.js'
import { isFiniteNumber, isNumbers } from '../formats/json/json-fields.js'

/** The error of every estimator that is used before `fit`. */
export function notFitted(name: string): never {
  throw new TraitscopeError('NOT_FITTED', `${name} is not fitted yet; call fit() or fromJSON() first`)
}

/** A hyperparameter that must be a positive integer; `USAGE` otherwise. */
export function positiveInteger(name: string, value: number): number {
  if (!(Number.isInteger(value) && value >= 1)) {
    throw new TraitscopeError('USAGE', `${name} must be a positive integer, got ${value}`)
  }
  return value
}

type Kind = 'number' | 'numbers' | 'rows'

const CHECKS: Record<Kind, (value: unknown) => boolean> = {
  number: isFiniteNumber,
  numbers: isNumbers,
  rows: (value) => Array.isArray(value) && value.every((row) => isNumbers(row)),
}

/**
 * Reads the plain state of an estimator: its name, its hyperparameters, and the fitted fields of the given
 * kinds or null. Throws `FILE_INVALID` naming the field that is missing or not finite.
 */
export function stateOf<J extends { estimator: string; fitted: F | null }, F>(
  json: unknown,
  estimator: J['estimator'],
  fields: Record<keyof F, Kind>,
): { parameters: J; fitted: F | undefined } {
  const found = (json as J | null)?.estimator
  if (found !== estimator) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected the state of a '${estimator}' estimator, got ${JSON.stringify(found) ?? typeof json}`,
    )
  }
  const parameters = json as J
  const { fitted } = parameters
  if (fitted === null || fitted === undefined) return { parameters, fitted: undefined }
  for (const [field, kind] of Object.entries(fields) as [keyof F & string, Kind][]) {
    if (!CHECKS[kind](fitted[field])) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `'fitted.${field}' of the '${estimator}' state must hold finite ${kind}`,
      )
    }
  }
  return { parameters, fitted }
}
