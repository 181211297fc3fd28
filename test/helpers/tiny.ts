import { join } from 'node:path'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import { storedMetadata, tensorBytes, writeGgufStream } from '../../lib/formats/gguf/gguf-stream.js'
import { packageRoot } from '../../lib/package.js'

/** The tiny trained model and its run, made by lab/tiny_run.py. */
export const TINY = join(packageRoot, 'test/fixtures/tiny')
export const TINY_BASE = join(TINY, 'base.gguf')
export const TINY_RUN = join(TINY, 'run')
export const TINY_PACK = join(TINY, 'pack.yaml')

/** Writes the tiny model with another context length. */
export async function writeTinyWithContext(path: string, length: number): Promise<void> {
  const tiny = await readGguf(TINY_BASE)
  const metadata = storedMetadata(tiny).map(([key, type, value]) =>
    key === 'llama.context_length' ? ([key, type, length] as const) : ([key, type, value] as const),
  )
  const tensors = [...tiny.tensors.values()].map((tensor) => ({
    ...tensor,
    chunks: () => tensorBytes(tiny, tensor, 0, tensor.byteLength),
  }))
  await writeGgufStream(path, metadata, tensors)
}

/** ||a - b|| / ||b||, accumulated in float64. */
export function relativeL2(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths ${a.length} and ${b.length} differ`)
  let difference = 0
  let norm = 0
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2
    norm += b[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}
