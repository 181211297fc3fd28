import { open } from 'node:fs/promises'
import { encodeGgufHeader, type GgufInput, readGguf } from '../../lib/formats/gguf/gguf.js'
import { TINY_BASE } from './tiny.js'

/** The tiny model with another feed-forward width: a valid GGUF whose tensor data is one hole. A width of 2^21 takes 6 GB. */
export async function writeSparseModel(path: string, nFf: number): Promise<void> {
  const tiny = await readGguf(TINY_BASE)
  const tensors = [...tiny.tensors.values()].map(({ name, shape, type }) => ({
    name,
    type,
    shape: /ffn_(gate|up)\./.test(name)
      ? [shape[0]!, nFf]
      : /ffn_down\./.test(name)
        ? [nFf, shape[1]!]
        : [...shape],
  }))
  const metadata = [...tiny.metadata].map(([key, value]) => {
    const changed = key === 'llama.feed_forward_length' ? nFf : value
    return [key, tiny.types.get(key)!, changed] as const
  })
  const { bytes, dataBytes } = encodeGgufHeader(metadata as GgufInput['metadata'], tensors)
  const file = await open(path, 'w')
  await file.write(bytes)
  await file.truncate(bytes.length + dataBytes)
  await file.close()
}
