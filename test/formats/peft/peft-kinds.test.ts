import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readPeftAdapter } from '../../../lib/formats/peft/peft.js'
import { readSafetensors } from '../../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../../lib/hidden-states/hidden-states.js'
import { openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'
import { relativeL2 } from '../../helpers/tiny.js'

// What peft itself wrote for every kind of adapter that it can make on this model (lab/peft_kinds.py).
const KINDS = join(packageRoot, 'test/fixtures/peft')
const ORACLE = join(packageRoot, 'test/fixtures/oracles/llama')

/** Why each kind is not attached. */
const REFUSED: Record<string, RegExp> = {
  adalora: /"ADALORA".*another way; merge it with PEFT/,
  boft: /"BOFT".*merge it with PEFT/,
  corda: /CorDA.*path_initial_model_for_weight_conversion/,
  fourierft: /"FOURIERFT"/,
  hra: /"HRA"/,
  ia3: /"IA3".*measure the whole model/,
  'ln-tuning': /"LN_TUNING"/,
  loha: /"LOHA"/,
  lokr: /"LOKR"/,
  'lora-ga': /LoRA-GA.*--residual-base/,
  oft: /"OFT"/,
  olora: /OLoRA.*--residual-base/,
  'p-tuning': /"P_TUNING", which adds learned tokens.*train a LoRA/,
  pissa: /PiSSA.*path_initial_model_for_weight_conversion/,
  'pissa-niter': /PiSSA/,
  'prefix-tuning': /"PREFIX_TUNING"/,
  'prompt-tuning': /"PROMPT_TUNING"/,
  'trainable-tokens': /"TRAINABLE_TOKENS"/,
  vera: /"VERA"/,
}
const CONVERTED = ['corda-converted', 'lora-ga-converted', 'olora-converted', 'pissa-converted']
const ATTACHED = ['gaussian', 'orthogonal', ...CONVERTED]

describe("peft's kinds of adapters", () => {
  it('should all be accounted for', () => {
    const folders = readdirSync(KINDS, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    expect(folders.map(({ name }) => name).sort()).toEqual(
      [...Object.keys(REFUSED), ...ATTACHED, 'zero3-empty'].sort(),
    )
  })

  it.each(Object.entries(REFUSED))('should refuse %s by name', async (kind, message) => {
    await using model = await openModel(join(ORACLE, 'model.gguf'))
    await expect(model.attach(join(KINDS, kind))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(message),
    })
  })

  it.each(ATTACHED)('should attach %s', async (kind) => {
    await using model = await openModel(join(ORACLE, 'model.gguf'))
    const { report } = await model.attach(join(KINDS, kind))
    expect(report.modules).toHaveLength(6)
    expect(report.allZero).toBe(false)
  })

  it.each(['pissa', 'pissa-niter', 'olora', 'corda', 'lora-ga'])(
    'should attach %s to what it left of the base',
    async (kind) => {
      await using model = await openModel(join(ORACLE, 'model.gguf'))
      const { report } = await model.attach(join(KINDS, kind), { residualBase: true })
      expect(report.modules).toHaveLength(6)
    },
  )

  it.each(CONVERTED)('should give the states of peft with %s', async (kind) => {
    const { prompts } = JSON.parse(readFileSync(join(ORACLE, 'prompts.json'), 'utf8')) as {
      prompts: { ids: number[] }[]
    }
    await using model = await openModel(join(ORACLE, 'model.gguf'))
    const adapter = await model.attach(join(KINDS, kind))
    const ids = prompts.map((prompt) => Int32Array.from(prompt.ids))
    const { data } = await hiddenStates(model, ids, { layers: [0, 1, 2], adapter })
    const golden = await readSafetensors(join(KINDS, 'golden.safetensors'))
    expect(relativeL2(data, golden.float32(kind))).toBeLessThan(1e-5)
  })

  it('should not take what ZeRO-3 did not gather for an adapter without effect', async () => {
    await expect(readPeftAdapter(join(KINDS, 'zero3-empty'))).rejects.toMatchObject({
      code: 'ADAPTER_INVALID',
      message: expect.stringMatching(/no LoRA tensors; .*ZeRO-3.*gather/),
    })
  })
})
