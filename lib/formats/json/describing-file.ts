import { join } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import { isFolder } from '../files/file-stats.js'
import { readJsonFile } from './json.js'

/**
 * Reads the file that makes a folder what it is.
 *
 * @param what the folder should be, and how one is come by: a folder that is there and holds no such file is another one
 * @throws as `readJsonFile`
 */
export async function readDescribingFile(folder: string, name: string, what: string): Promise<unknown> {
  return readJsonFile(join(folder, name)).catch(async (error: unknown) => {
    if (!isTraitscopeError(error, 'FILE_NOT_FOUND') || !(await isFolder(folder))) throw error
    throw new TraitscopeError('FILE_NOT_FOUND', `expected ${name} in ${folder}, found none; name ${what}`, {
      cause: error,
    })
  })
}
