import { lstat, stat } from 'node:fs/promises'
import { TraitscopeError } from '../errors.js'
import { errnoOf } from '../formats/files/file-errors.js'
import { kindOf } from '../formats/files/read-whole.js'

/** What stands where a checkpoint should, and cannot be read as one; undefined when nothing does. */
export async function whatIsAt(path: string): Promise<TraitscopeError | undefined> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined || found.isDirectory()) return undefined
  if (!found.isSymbolicLink()) {
    return new TraitscopeError('FILE_INVALID', `expected a folder at ${path}, found ${kindOf(found)}`)
  }
  const behind = await stat(path).catch((error: unknown) => errnoOf(error) ?? 'unreadable')
  if (typeof behind !== 'string' && behind.isDirectory()) return undefined
  const what =
    typeof behind === 'string'
      ? `a link that leads ${behind === 'ELOOP' ? 'in a circle' : `nowhere (${behind})`}`
      : `a link to ${kindOf(behind)}`
  return new TraitscopeError('FILE_INVALID', `expected a folder at ${path}, found ${what}`)
}
