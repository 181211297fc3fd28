import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Mt19937 } from '../estimators/mt19937.js'
import type { GgufFile } from '../formats/gguf/gguf.js'
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from '../formats/peft/peft.js'
import { encodeSafetensors } from '../formats/safetensors/safetensors.js'
import type { SafetensorsInput } from '../formats/safetensors/safetensors-writer.js'

/** PEFT's names of the attention projections that an adapter usually trains; a fused base has one. */
const TARGETS = { attn_q: 'q_proj', attn_v: 'v_proj', attn_qkv: 'qkv_proj' }

/**
 * Writes a PEFT LoRA folder that fits the base: rank `r` on the query and value projections of every block, small
 * random weights from a fixed seed: what swapping adapters takes, and what rounding makes of a change, is measured with it.
 */
export async function writeRandomAdapter(folder: string, base: GgufFile, r: number): Promise<void> {
  const random = new Mt19937(20)
  const values = (n: number) => Float32Array.from({ length: n }, () => (random.rand() - 0.5) / 50)
  const tensors: SafetensorsInput[] = []
  for (const { name, shape } of base.tensors.values()) {
    const [, block, tensor] = /^blk\.(\d+)\.(attn_q|attn_v|attn_qkv)\.weight$/.exec(name) ?? []
    if (block === undefined) continue
    const target = TARGETS[tensor as keyof typeof TARGETS]
    const module = `base_model.model.model.layers.${block}.self_attn.${target}`
    const [nIn, nOut] = shape as [number, number]
    const add = (which: string, rows: number, cols: number) =>
      tensors.push({
        name: `${module}.lora_${which}.weight`,
        dtype: 'F32',
        shape: [rows, cols],
        data: values(rows * cols),
      })
    add('A', r, nIn)
    add('B', nOut, r)
  }
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: null,
    r,
    lora_alpha: r,
    target_modules: [...new Set(tensors.map(({ name }) => name.split('.').at(-3)!))],
    bias: 'none',
    lora_dropout: 0,
    inference_mode: true,
  }
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, ADAPTER_TENSORS), encodeSafetensors(tensors, { format: 'pt' }))
  await writeFile(join(folder, ADAPTER_CONFIG), JSON.stringify(config, null, 2))
}
