import { resolve } from 'node:path'
import { TraitscopeError } from '../../errors.js'

/**
 * A path that somebody has named, in full. An empty one would be the working directory, and a variable that is not set comes
 * as undefined from JavaScript: neither is guessed.
 *
 * @param what it is a path of, for the message
 * @throws TraitscopeError USAGE
 */
export function namedPath(path: string, what: string): string {
  checkNamed(path, what)
  return resolve(path)
}

/** {@link namedPath} where the path is wanted as it was given. */
export function checkNamed(path: string, what: string): void {
  if (typeof path === 'string' && path !== '') return
  const found = path === '' ? 'an empty one' : `${path === null ? 'null' : typeof path}`
  throw new TraitscopeError('USAGE', `expected the path of ${what}, found ${found}: is a variable not set?`)
}
