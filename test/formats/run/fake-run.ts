// Folders as trainers leave them, with adapters of one module that differ by a number.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeSafetensors } from '../../../lib/formats/safetensors/safetensors.js'

export const CONFIG = JSON.stringify({ peft_type: 'LORA', r: 1, lora_alpha: 1 })

export function tensors(seed: number): Uint8Array {
  const name = 'base_model.model.model.layers.0.self_attn.q_proj'
  return encodeSafetensors([
    { name: `${name}.lora_A.weight`, dtype: 'F32', shape: [1, 2], data: Float32Array.of(seed, 1) },
    { name: `${name}.lora_B.weight`, dtype: 'F32', shape: [2, 1], data: Float32Array.of(seed, 2) },
  ])
}

/** An adapter in a folder; returns the folder. */
export async function adapter(folder: string, seed: number): Promise<string> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'adapter_model.safetensors'), tensors(seed))
  await writeFile(join(folder, 'adapter_config.json'), CONFIG)
  return folder
}

/** A whole model of one tensor in one file; returns the folder. */
export async function model(folder: string, seed: number, name = 'model.safetensors'): Promise<string> {
  await mkdir(folder, { recursive: true })
  const data = Float32Array.of(seed)
  await writeFile(
    join(folder, name),
    encodeSafetensors([{ name: 'a.weight', dtype: 'F32', shape: [1], data }]),
  )
  return folder
}

/** A trainer_state.json whose loss falls; `scale` makes it that of another run. */
export const state = (step: number, scale = 1) => ({
  global_step: step,
  epoch: step / 100,
  log_history: Array.from({ length: step / 5 }, (_, i) => ({
    step: 5 * (i + 1),
    loss: scale / (i + 1),
    epoch: i,
  })),
})

/** `checkpoint-N` with an adapter, or with one per name in sub folders. */
export async function checkpoint(
  root: string,
  step: number,
  names: readonly string[] = [''],
): Promise<string> {
  const folder = join(root, `checkpoint-${step}`)
  for (const [i, name] of names.entries()) await adapter(join(folder, name), step + 1000 * i)
  await writeFile(join(folder, 'trainer_state.json'), JSON.stringify(state(step)))
  return folder
}
