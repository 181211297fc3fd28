import { TraitscopeError } from '../../errors.js'
import { fileError, type MissingMeans } from '../files/file-errors.js'
import { gunzip, isGzipName } from '../files/gzip.js'
import { openPlain } from '../files/read-whole.js'
import { type JsonNode, scanJson } from './json-scan.js'

/** trainer_state.json of a very long run is a few MB; beyond this a file is not ours to parse. */
const MAX_JSON_BYTES = 256 * 1024 * 1024
/** As the scanner's. */
const MAX_JSON_DEPTH = 64

/**
 * Parses JSON as Python's `json` module writes it: bare NaN, Infinity and -Infinity are accepted and become the
 * JavaScript numbers of that name, and a byte order mark, which editors put in front, is passed over. The result is what JSON.parse
 * would give.
 *
 * @throws FILE_INVALID naming `where` and the offset.
 */
export function parseTrainerJson(written: string, where = 'the text'): unknown {
  const text = written.startsWith('\ufeff') ? written.slice(1) : written
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return toPlain(scanJson(text, { where, duplicateKeys: 'last', numbers: 'any', nonFinite: true }))
  }
  if (isDeeperThan(value, MAX_JSON_DEPTH)) {
    throw new TraitscopeError('FILE_INVALID', `expected ${where} to nest at most ${MAX_JSON_DEPTH} levels`)
  }
  return value
}

/** JSON.parse nests without end, and JSON.stringify then overflows the stack in whoever quotes the value. */
function isDeeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth === 0 || Object.values(value).some((entry) => isDeeperThan(entry, depth - 1))
}

/**
 * Reads and parses a JSON file, tolerant of bare NaN and Infinity; a name that ends in `.gz` is unpacked.
 *
 * @throws FILE_NOT_FOUND (FILE_VANISHED when `missing` says the file was there a moment ago), FILE_INVALID.
 */
export async function readJsonFile(path: string, missing: MissingMeans = 'absent'): Promise<unknown> {
  const bytes = await readUnpacked(path, missing)
  return parseTrainerJson(bytes.toString('utf8'), path)
}

/**
 * The bytes of a file that is small enough to parse; a name that ends in `.gz` is unpacked.
 *
 * @throws FILE_NOT_FOUND (FILE_VANISHED, see {@link readJsonFile}), FILE_INVALID.
 */
export async function readUnpacked(path: string, missing: MissingMeans = 'absent'): Promise<Buffer> {
  try {
    const bytes = await readPlain(path)
    return isGzipName(path) ? Buffer.from(gunzip(bytes, path, MAX_JSON_BYTES)) : bytes
  } catch (error) {
    throw fileError(error, path, missing)
  }
}

async function readPlain(path: string): Promise<Buffer> {
  const file = await openPlain(path)
  try {
    const { size } = await file.stat()
    if (size > MAX_JSON_BYTES) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected ${path} to hold at most ${MAX_JSON_BYTES} bytes, found ${size}`,
      )
    }
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/** True for a JSON object (not an array, not null). */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function toPlain(node: JsonNode): unknown {
  if (Array.isArray(node)) return node.map(toPlain)
  if (!(node instanceof Map)) return node
  // fromEntries defines own properties, so a "__proto__" key stays data, as with JSON.parse.
  return Object.fromEntries([...node].map(([key, value]) => [key, toPlain(value)]))
}
