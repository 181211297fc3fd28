import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { takeMade, takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { norm } from '../estimators/linalg.js'
import { publishFolder } from '../formats/files/atomic.js'
import { sha256 } from '../formats/files/hash.js'
import { namedPath } from '../formats/files/named-path.js'
import { readDescribingFile } from '../formats/json/describing-file.js'
import { isJsonObject } from '../formats/json/json.js'
import { readSafetensors, type SafetensorsFile } from '../formats/safetensors/safetensors.js'
import { DIRECTIONS, type Directions, directionName, encodeDirections } from './directions.js'
import { parseDescription } from './directions-json.js'

const DESCRIPTION = 'directions.json'
const VECTORS = 'directions.safetensors'

/** Version of the folder's layout; a reader refuses what it does not know. The first one had no held-out figures. */
const SCHEMA_VERSION = 2
const READABLE: readonly unknown[] = [1, SCHEMA_VERSION]

/** Stored vectors are float32, so their length is 1 to about 1e-7. */
const UNIT_TOLERANCE = 1e-5

/**
 * Writes a directions folder: `directions.safetensors` (an F32 tensor `<layer>/<trait>` of shape `[nEmbd]`
 * per layer and trait, unit length) and `directions.json` (all else, with the hash of the vectors and of
 * itself). The folder appears as a whole or not at all, and equal directions give equal bytes: there is no
 * time stamp in them.
 *
 * @throws TraitscopeError FILE_EXISTS unless `force`; with it, only an earlier directions folder is replaced
 */
export async function saveDirections(
  directions: Directions,
  folder: string,
  options: { force?: boolean | undefined } = {},
): Promise<void> {
  directions = takeMade(directions, DIRECTIONS)
  const { force = false } = takeOptions('saveDirections', options, { force: 'boolean' })
  await publishFolder(folder, (temporary) => writeDirections(directions, temporary), {
    force,
    marker: DESCRIPTION,
  })
}

/** Writes the two files of {@link saveDirections} into an existing folder: a bundle is one with more in it. */
export async function writeDirections(directions: Directions, folder: string): Promise<void> {
  const vectors = encodeDirections(directions)
  const description = describe(directions, sha256(vectors))
  const text = `${JSON.stringify({ ...description, descriptionSha256: sha256(JSON.stringify(description)) }, null, 2)}\n`
  await writeFile(join(folder, VECTORS), vectors)
  await writeFile(join(folder, DESCRIPTION), text)
}

/**
 * Reads a directions folder and checks all of it: hashes, tensor set, shapes, unit length, finite numbers.
 *
 * @throws TraitscopeError FILE_NOT_FOUND, FILE_INVALID (content was edited, or is no directions folder),
 * UNSUPPORTED (a newer schema)
 */
export async function loadDirections(folder: string): Promise<Directions> {
  const place = namedPath(folder, 'directions')
  const path = join(place, DESCRIPTION)
  const json = await readDescribingFile(place, DESCRIPTION, 'a folder that `traitscope directions` made')
  if (!isJsonObject(json)) invalid(path, 'an object')
  if (!READABLE.includes(json.schemaVersion)) {
    throw new TraitscopeError(
      typeof json.schemaVersion === 'number' ? 'UNSUPPORTED' : 'FILE_INVALID',
      `expected schema version ${READABLE.join(' or ')} in ${path}, found ${JSON.stringify(json.schemaVersion)}; ` +
        'make the directions again or update traitscope',
    )
  }
  const { descriptionSha256, ...description } = json
  if (descriptionSha256 !== sha256(JSON.stringify(description))) {
    invalid(path, 'the content that its descriptionSha256 was made of; it was edited or damaged')
  }
  const parsed = parseDescription(description, path)
  const file = await readSafetensors(join(folder, VECTORS))
  if (file.sha256 !== parsed.sha256) {
    invalid(
      file.where,
      `SHA-256 ${parsed.sha256} as ${DESCRIPTION} says, found ${file.sha256}; it was edited or damaged`,
    )
  }
  return { ...parsed, vectors: readVectors(file, parsed) }
}

function describe({ vectors: _, ...rest }: Directions, vectorsSha256: string) {
  return { schemaVersion: SCHEMA_VERSION, kind: 'traitscope-directions', ...rest, sha256: vectorsSha256 }
}

function readVectors(
  file: SafetensorsFile,
  { layers, traits, nEmbd }: Omit<Directions, 'vectors'>,
): Float32Array {
  if (file.tensors.size !== layers.length * traits.length) {
    invalid(file.where, `${layers.length * traits.length} vectors, found ${file.tensors.size}`)
  }
  const names = layers.flatMap((layer) => traits.map((trait) => directionName(layer, trait)))
  const read = names.map((name) => {
    const entry = file.tensors.get(name)
    if (entry?.dtype !== 'F32' || entry.shape.length !== 1 || entry.shape[0] !== nEmbd) {
      invalid(file.where, `an F32 tensor ${name} of shape [${nEmbd}]`)
    }
    const vector = file.finiteFloat32(name)
    const length = norm(vector)
    if (!(Math.abs(length - 1) <= UNIT_TOLERANCE)) {
      invalid(file.where, `unit vectors, but the length of ${name} is ${length}`)
    }
    return vector
  })
  const vectors = new Float32Array(read.length * nEmbd)
  for (const [i, vector] of read.entries()) vectors.set(vector, i * nEmbd)
  return vectors
}

function invalid(path: string, expected: string): never {
  throw new TraitscopeError('FILE_INVALID', `expected ${path} to hold ${expected}`)
}
