import { TraitscopeError } from '../errors.js'
import type { Conditions } from './conditions.js'

/** What a detector's conditions belong to, see {@link mismatchesBetween}. */
export const CALIBRATED = 'the detector was calibrated'

/** A sentence where two values differ. */
export const mismatch =
  (subject: string) =>
  (what: string, made: unknown, found: unknown): string[] =>
    made === found ? [] : [`${what} is ${found}, but ${subject} with ${made}`]

/**
 * Sentences on every way in which two sets of conditions differ; empty when numbers can be compared.
 *
 * @param subject what the first ones belong to, e.g. `the directions were made`
 */
export function mismatchesBetween(
  made: Conditions,
  found: Conditions,
  subject = 'the directions were made',
): string[] {
  const check = mismatch(subject)
  // A pack's content is what counts: a copy may have another name.
  const isOtherPack = made.traitPack.contentHash !== found.traitPack.contentHash
  return [
    ...check('the base model', describeBase(made), describeBase(found)),
    ...check('the chat template', made.template.sha256.slice(0, 12), found.template.sha256.slice(0, 12)),
    ...check("the template's system role", made.template.systemRole, found.template.systemRole),
    ...check("the template's date", made.template.date, found.template.date),
    ...(isOtherPack ? check('the trait pack', describePack(made), describePack(found)) : []),
    ...check('the pooling', made.pool, found.pool),
  ]
}

/**
 * Throws NOT_COMPARABLE when numbers made under two sets of conditions must not be compared; with `allow`,
 * returns the differences instead, for the record. A different width can never be allowed.
 */
export function assertComparable(made: Conditions, found: Conditions, allow = false): string[] {
  if (made.base.nEmbd !== found.base.nEmbd) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `the directions have ${made.base.nEmbd} dimensions, but this model's states have ${found.base.nEmbd}; ` +
        'make directions for this model',
    )
  }
  const different = mismatchesBetween(made, found)
  if (different.length > 0 && !allow) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `${different.join('; ')}; use the model, template and trait pack (--traits) that the directions were made with, make directions for these, or allow the mismatch (--allow-mismatch)`,
    )
  }
  return different
}

function describeBase({ base }: Conditions): string {
  return `${base.name ?? base.architecture} (${base.fingerprint.slice(0, 12)})`
}

function describePack({ traitPack }: Conditions): string {
  return `${traitPack.name} (${traitPack.contentHash.slice(0, 12)})`
}
