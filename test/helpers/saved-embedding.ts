import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import {
  encodeSafetensors,
  readSafetensors,
  type SafetensorsInput,
} from '../../lib/formats/safetensors/safetensors.js'

/**
 * Copies a folder with a plain LoRA adapter and saves the embedding of an F32 base with it, as PEFT does with
 * `modules_to_save` (all of it) or `trainable_token_indices` (rows), trained or not.
 */
export async function copyWithEmbedding(
  from: string,
  to: string,
  base: string,
  tokens?: readonly number[],
): Promise<string> {
  await cp(from, to, { recursive: true })
  const gguf = await readGguf(base)
  const { shape, offset, byteLength } = gguf.tensors.get('token_embd.weight')!
  const [width, rows] = shape as [number, number]
  const start = gguf.dataOffset + offset
  const bytes = await readFile(base)
  const values = new Float32Array(Uint8Array.from(bytes.subarray(start, start + byteLength)).buffer)
  const path = join(to, 'adapter_model.safetensors')
  const file = await readSafetensors(path)
  const tensors: SafetensorsInput[] = [...file.tensors.values()].map(({ name, shape }) => {
    return { name, dtype: 'F32', shape, data: file.float32(name) }
  })
  const module = 'base_model.model.model.embed_tokens'
  const config = JSON.parse(await readFile(join(to, 'adapter_config.json'), 'utf8'))
  if (tokens === undefined) {
    tensors.push({ name: `${module}.weight`, dtype: 'F32', shape: [rows, width], data: values })
    config.modules_to_save = ['embed_tokens']
  } else {
    const data = Float32Array.from(
      tokens.flatMap((token) => [...values.subarray(token * width, (token + 1) * width)]),
    )
    const name = `${module}.token_adapter.trainable_tokens_delta`
    tensors.push({ name, dtype: 'F32', shape: [tokens.length, width], data })
    config.trainable_token_indices = { embed_tokens: tokens }
  }
  await writeFile(path, encodeSafetensors(tensors, { format: 'pt' }))
  await writeFile(join(to, 'adapter_config.json'), JSON.stringify(config))
  return to
}
