import { extname } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { csvRows } from '../../formats/files/csv-rows.js'
import { sha256 } from '../../formats/files/hash.js'
import { readTextFile } from '../../formats/files/text-file.js'
import { isJsonObject, parseTrainerJson } from '../../formats/json/json.js'

/** A row of a table, and where it is for errors. */
export interface FileRow {
  row: Record<string, unknown>
  where: string
}

const MAX_FILE_BYTES = 256 * 1024 * 1024

/**
 * Rows of a `.csv` file with a header, or of `.jsonl`.
 *
 * @param what they hold, for errors
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the row; UNSUPPORTED for another extension
 */
export async function readRows(path: string, what: string): Promise<{ rows: FileRow[]; sha256: string }> {
  const { bytes, text } = await readTextFile(path, MAX_FILE_BYTES)
  return { rows: rowsOf(text, path, what), sha256: sha256(bytes) }
}

function rowsOf(text: string, path: string, what: string): FileRow[] {
  const extension = extname(path).toLowerCase()
  if (extension === '.csv')
    return csvRows(text, path).map((row, i) => ({ row, where: `${path}, row ${i + 1}` }))
  if (extension !== '.jsonl') {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected ${what} in a .csv or .jsonl file, found ${path}; rename it to what it holds`,
    )
  }
  return text.split(/\r?\n/).flatMap((line, i) => {
    if (line.trim() === '') return []
    const where = `${path}, line ${i + 1}`
    const row = parseTrainerJson(line, where)
    return isJsonObject(row) ? [{ row, where }] : missing(where, 'an object')
  })
}

/** A row, or the whole file, lacks something. */
export function missing(where: string, expected: string): never {
  throw new TraitscopeError('FILE_INVALID', `expected ${expected} in ${where}`)
}
