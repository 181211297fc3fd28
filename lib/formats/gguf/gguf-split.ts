import { TraitscopeError } from '../../errors.js'
import { type GgufContents, type GgufFile, type GgufTensor, readGgufPart } from './gguf.js'

const PART_NAME = /^(.*)-00001-of-(\d{5})\.gguf$/s

/** A model in one file or in several, seen as one: path and metadata are those of the first file. */
export interface GgufParts extends GgufContents {
  /** The files, in order. */
  readonly files: readonly GgufFile[]
  /** The file that holds a tensor. */
  fileOf(tensor: GgufTensor): GgufFile
}

/**
 * Reads the headers of a model that may be split into `<name>-00001-of-00003.gguf` and so on, of which the first is
 * named. The keys that describe the split are left out.
 *
 * @throws as `readGguf`; USAGE for a part that is not the first, FILE_INVALID when the parts do not belong together.
 */
export async function readGgufParts(path: string): Promise<GgufParts> {
  const first = await readGgufPart(path)
  const files = [first]
  for (const name of otherParts(first)) files.push(await readGgufPart(name))
  const holders = new Map<GgufTensor, GgufFile>()
  const tensors = new Map<string, GgufTensor>()
  for (const [no, file] of files.entries()) {
    if (files.length > 1) checkPart(file, no, files.length)
    for (const tensor of file.tensors.values()) {
      if (tensors.has(tensor.name)) {
        throw wrongPart(file.path, `expected no tensor of an earlier part, found ${tensor.name}`)
      }
      tensors.set(tensor.name, tensor)
      holders.set(tensor, file)
    }
  }
  const announced = first.metadata.get('split.tensors.count')
  if (files.length > 1 && announced !== undefined && announced !== tensors.size) {
    throw wrongPart(path, `expected ${announced} tensors in ${files.length} parts, found ${tensors.size}`)
  }
  return {
    path,
    metadata: new Map([...first.metadata].filter(([key]) => !key.startsWith('split.'))),
    types: first.types,
    tensors,
    files,
    fileOf: (tensor) => holders.get(tensor)!,
  }
}

function otherParts({ path, metadata }: GgufFile): string[] {
  const count = metadata.get('split.count') ?? 1
  if (count === 1 || count === 0) return []
  const found = PART_NAME.exec(path)
  if (metadata.get('split.no') !== 0 || !found) {
    throw new TraitscopeError(
      'USAGE',
      `expected the first part of a split model, NAME-00001-of-${String(count).padStart(5, '0')}.gguf, found ${path}`,
    )
  }
  if (Number(found[2]) !== count) throw wrongPart(path, `expected ${Number(found[2])} parts, found ${count}`)
  return Array.from(
    { length: count - 1 },
    (_, i) => `${found[1]}-${String(i + 2).padStart(5, '0')}-of-${found[2]}.gguf`,
  )
}

function checkPart({ path, metadata }: GgufFile, no: number, count: number): void {
  const found = [metadata.get('split.no'), metadata.get('split.count')]
  if (found[0] === no && found[1] === count) return
  throw wrongPart(path, `expected part ${no + 1} of ${count}, found ${Number(found[0]) + 1} of ${found[1]}`)
}

function wrongPart(path: string, problem: string): TraitscopeError {
  return new TraitscopeError(
    'FILE_INVALID',
    `${path} does not belong to the other parts: ${problem}; download the model again`,
  )
}
