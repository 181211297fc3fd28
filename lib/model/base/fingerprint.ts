import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import type { GgufFile } from '../../formats/gguf/gguf.js'

const BLOCK = 4096
const BLOCKS_PER_TENSOR = 4

/**
 * Identity of a base GGUF: SHA-256 (hex) over its size, its whole header (metadata, tokenizer, tensor table) and four
 * evenly spaced 4 KiB blocks of every tensor.
 *
 * Hashing all of a 16 GB file takes longer than measuring a checkpoint. Two models that differ anywhere by
 * fine-tuning, merging or requantising differ in these samples; a single flipped bit elsewhere may go unseen.
 */
export async function fingerprintGguf(gguf: GgufFile): Promise<string> {
  const hash = createHash('sha256').update(`traitscope-gguf-fingerprint-1 ${gguf.fileSize}\n`)
  const file = await open(gguf.path, 'r')
  try {
    const buffer = Buffer.alloc(1 << 20)
    for (let at = 0; at < gguf.dataOffset; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, gguf.dataOffset - at), at)
      if (bytesRead === 0) break
      hash.update(buffer.subarray(0, bytesRead))
      at += bytesRead
    }
    for (const tensor of gguf.tensors.values()) {
      const last = Math.max(0, tensor.byteLength - BLOCK)
      for (let i = 0; i < BLOCKS_PER_TENSOR; i++) {
        const at = Math.floor((last * i) / (BLOCKS_PER_TENSOR - 1))
        const length = Math.min(BLOCK, tensor.byteLength - at)
        const { bytesRead } = await file.read(buffer, 0, length, gguf.dataOffset + tensor.offset + at)
        hash.update(buffer.subarray(0, bytesRead))
      }
    }
  } finally {
    await file.close()
  }
  return hash.digest('hex')
}
