import { mkdir, mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { fileError } from './file-errors.js'
import { ownerTag, sweepAbandoned } from './owner.js'

/**
 * Makes a folder of its own for the temporary files of a checkpoint, and removes those that killed processes have left there:
 * each may be of the base's size.
 *
 * @throws FILE_ACCESS when it cannot be made
 */
export async function makeScratch(parent: string): Promise<string> {
  try {
    await mkdir(parent, { recursive: true })
    await sweepAbandoned(parent)
    return await mkdtemp(join(parent, `checkpoint-${ownerTag()}-`))
  } catch (error) {
    throw fileError(error, parent)
  }
}
