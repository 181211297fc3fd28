import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  encodeSafetensors,
  readSafetensors,
  type SafetensorsInput,
} from '../../lib/formats/safetensors/safetensors.js'

/** Copies a folder with a plain LoRA adapter and makes DoRA of it, with magnitudes from 0.8 up. */
export async function copyAsDora(from: string, to: string): Promise<string> {
  await cp(from, to, { recursive: true })
  const path = join(to, 'adapter_model.safetensors')
  const file = await readSafetensors(path)
  const tensors: SafetensorsInput[] = []
  for (const { name, shape } of file.tensors.values()) {
    tensors.push({ name, dtype: 'F32', shape, data: file.float32(name) })
    if (!name.endsWith('.lora_B.weight')) continue
    const magnitude = Float32Array.from({ length: shape[0]! }, (_, i) => 0.8 + 0.5 * Math.abs(Math.sin(i)))
    const at = name.replace('lora_B.weight', 'lora_magnitude_vector')
    tensors.push({ name: at, dtype: 'F32', shape: [shape[0]!], data: magnitude })
  }
  await writeFile(path, encodeSafetensors(tensors, { format: 'pt' }))
  const config = join(to, 'adapter_config.json')
  await writeFile(config, JSON.stringify({ ...JSON.parse(await readFile(config, 'utf8')), use_dora: true }))
  return to
}
