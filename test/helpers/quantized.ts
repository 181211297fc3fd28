import { join } from 'node:path'
import { binding } from '../../lib/binding.js'
import { readGgufParts } from '../../lib/formats/gguf/gguf-split.js'
import { storedMetadata, writeGgufStream } from '../../lib/formats/gguf/gguf-stream.js'
import { mergedBytes } from '../../lib/model/merge/merge-stream.js'

/** Writes a GGUF in another type, and the same rounded weights once more as F32. */
export async function quantized(
  source: string,
  folder: string,
  type: string,
): Promise<{ stored: string; exact: string }> {
  const stored = join(folder, `${type}.gguf`)
  const exact = join(folder, `${type}-as-F32.gguf`)
  await binding().quantize(source, stored, type, 1)
  const base = await readGgufParts(stored)
  const context = { base, strength: 1, threads: 1, onChange: () => {} }
  const tensors = [...base.tensors.values()].map((tensor) => {
    const { name, shape } = tensor
    const blocks = [{ rows: shape.at(-1)! }]
    const type = 'F32' as const
    return {
      name,
      shape,
      type,
      chunks: () => mergedBytes(context, { name, shape, source: tensor, blocks }, type),
    }
  })
  await writeGgufStream(exact, storedMetadata(base), tensors, { force: true })
  return { stored, exact }
}
