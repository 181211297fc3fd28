import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type PeftAdapter, readPeftAdapter } from '../../lib/formats/peft/peft.js'
import { encodeSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import type { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { Model } from '../../lib/model/model.js'
import { fakeModel, fakeStates } from '../directions/fake-model.js'

const MODULE = 'base_model.model.model.layers.0.self_attn.q_proj'

/**
 * A PEFT adapter whose effect on a fake model is `strength` along axis 1 (at layer 0; shifted by the layer).
 */
export async function writeAdapter(folder: string, strength: number): Promise<void> {
  await mkdir(folder, { recursive: true })
  const tensor = (part: string, shape: number[], value: number) => ({
    name: `${MODULE}.lora_${part}.weight`,
    dtype: 'F32' as const,
    shape,
    data: new Float32Array(shape[0]! * shape[1]!).fill(value),
  })
  const bytes = encodeSafetensors([tensor('A', [2, 4], 1), tensor('B', [4, 2], strength)])
  await writeFile(join(folder, 'adapter_model.safetensors'), bytes)
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r: 2,
    lora_alpha: 8,
    target_modules: ['q_proj'],
    bias: 'none',
  }
  await writeFile(join(folder, 'adapter_config.json'), JSON.stringify(config))
}

/** A complete `checkpoint-<step>`: the trainer's state is written last. */
export async function writeCheckpoint(
  run: string,
  step: number,
  strength: number,
  loss = '1.5',
): Promise<string> {
  const folder = join(run, `checkpoint-${step}`)
  await writeAdapter(folder, strength)
  const log = `[{"step": ${step}, "loss": ${loss}, "epoch": 0.5}]`
  await writeFile(
    join(folder, 'trainer_state.json'),
    `{"global_step": ${step}, "epoch": 0.5, "log_history": ${log}}`,
  )
  return folder
}

/** A model that can attach the adapters of {@link writeAdapter}; counts what is attached. */
export function attachingModel(overrides: Record<string, unknown> = {}): {
  model: Model
  attached: () => number
} {
  let attached = 0
  const attach = async (adapter: string | PeftAdapter) => {
    const peft = typeof adapter === 'string' ? await readPeftAdapter(adapter) : adapter
    attached++
    const detach = async () => {
      attached--
    }
    const [module] = peft.modules
    const strength = module!.b[0]!
    return {
      sha256: peft.sha256,
      strength,
      report: {
        architecture: 'llama',
        modules: [
          {
            path: module!.path,
            tensor: 'blk.0.attn_q.weight',
            r: module!.r,
            scale: module!.scale,
            bIsZero: strength === 0,
          },
        ],
        allZero: strength === 0,
      },
      detach,
      [Symbol.asyncDispose]: detach,
    }
  }
  return { model: fakeModel({ attach, ...overrides }), attached: () => attached }
}

/** hiddenStates() of an {@link attachingModel}. */
export const attachedStates: typeof hiddenStates = async (model, prompts, options) => {
  options.signal?.throwIfAborted()
  options.onProgress?.(1)
  const strength = (options.adapter as { strength: number } | undefined)?.strength ?? 0
  return fakeStates(prompts, [...options.layers], model.info.nEmbd, (_, layer, state) => {
    state[(1 + layer) % state.length]! += strength
  })
}
