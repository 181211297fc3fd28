import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import { isJsonObject, readJsonFile } from '../../formats/json/json.js'
import type { Json } from './settings.js'

/** The object of a JSON file; undefined where there is none. @throws FILE_INVALID */
export async function readOptional(path: string): Promise<Json | undefined> {
  try {
    const json = await readJsonFile(path)
    if (isJsonObject(json)) return json
  } catch (error) {
    if (isTraitscopeError(error, 'FILE_NOT_FOUND')) return undefined
    throw error
  }
  throw new TraitscopeError('FILE_INVALID', `expected ${path} to hold a JSON object`)
}
