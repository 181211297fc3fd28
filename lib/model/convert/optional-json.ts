import { TraitscopeError } from '../../errors.js'
import { ifThere } from '../../formats/files/file-errors.js'
import { isJsonObject, readJsonFile } from '../../formats/json/json.js'
import type { Json } from './settings.js'

/** The object of a JSON file; undefined where there is none. @throws FILE_INVALID */
export async function readOptional(path: string): Promise<Json | undefined> {
  const json = await ifThere(readJsonFile(path))
  if (json === undefined || isJsonObject(json)) return json
  throw new TraitscopeError('FILE_INVALID', `expected ${path} to hold a JSON object`)
}
