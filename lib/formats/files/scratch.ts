import { mkdir, mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { fileError } from './file-errors.js'

/** Makes a folder of its own for the temporary files of a checkpoint. @throws FILE_ACCESS when it cannot be made. */
export async function makeScratch(parent: string): Promise<string> {
  try {
    await mkdir(parent, { recursive: true })
    return await mkdtemp(join(parent, 'checkpoint-'))
  } catch (error) {
    throw fileError(error, parent)
  }
}
