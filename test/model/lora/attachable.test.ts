import { describe, expect, it } from 'vitest'
import { encodeGguf, parseGguf } from '../../../lib/formats/gguf/gguf.js'
import type { PeftAdapter } from '../../../lib/formats/peft/peft.js'
import { parsePeftConfig } from '../../../lib/formats/peft/peft-config.js'
import type { LoraModule } from '../../../lib/formats/peft/peft-tensors.js'
import { whyMerge } from '../../../lib/model/lora/attachable.js'
import { toGgufLora } from '../../../lib/model/lora/lora.js'

const base = await parseGguf(
  encodeGguf({
    metadata: [['general.architecture', 'string', 'llama']],
    tensors: ['token_embd', 'blk.0.ffn_down'].map((name) => ({
      name: `${name}.weight`,
      shape: [4, 6],
      type: 'F32' as const,
      data: new Float32Array(24),
    })),
  }),
  'base.gguf',
)

const module = (fields: Partial<LoraModule> = {}): LoraModule => ({
  path: 'model.layers.0.mlp.down_proj',
  a: new Float32Array(8).fill(1),
  b: new Float32Array(12).fill(1),
  r: 2,
  inFeatures: 4,
  outFeatures: 6,
  scale: 1,
  ...fields,
})
const adapter = (fields: Partial<PeftAdapter>, json: object = {}): PeftAdapter => ({
  path: 'run/checkpoint-10',
  config: parsePeftConfig({ peft_type: 'LORA', ...json }, 'x'),
  modules: [module()],
  replaced: [],
  replacedRows: [],
  buffers: [],
  unsaved: [],
  files: [],
  remarks: [],
  sha256: 'ab'.repeat(32),
  ...fields,
})

describe('whyMerge', () => {
  it('should find nothing against plain LoRA', () => {
    expect(whyMerge(adapter({}), base)).toBeUndefined()
    expect(toGgufLora(adapter({}), base).report.modules).toHaveLength(1)
  })

  const cases: [string, Partial<PeftAdapter>, RegExp][] = [
    ['DoRA', { modules: [module({ magnitude: new Float32Array(6) })] }, /down_proj" is DoRA/],
    ['a bias of lora_B', { modules: [module({ biasB: new Float32Array(6) })] }, /lora_B of module/],
    ['an embedding', { modules: [module({ path: 'model.embed_tokens', embedding: true })] }, /embedding/],
    ['the head of a tied base', { modules: [module({ path: 'lm_head' })] }, /tied/],
    [
      'a replaced tensor',
      { replaced: [{ path: 'model.norm', part: 'weight', shape: [4], rows: () => new Float32Array(4) }] },
      /replaces the weight of module "model.norm"/,
    ],
    [
      'trained tokens',
      {
        replacedRows: [{ path: 'model.embed_tokens', tokens: [1], width: 4, values: new Float32Array(4) }],
      },
      /replaces rows of "model.embed_tokens"/,
    ],
  ]
  it.each(cases)('should name %s, which is then not attached', (_, fields, message) => {
    expect(whyMerge(adapter(fields), base)).toMatch(message)
    expect(() => toGgufLora(adapter(fields), base)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(/traitscope merge/) }),
    )
  })
})

describe('an initialisation that moved the base', () => {
  const pissa = adapter({}, { init_lora_weights: 'pissa_niter_4' })

  it('should be refused by name, with the remedies', () => {
    expect(() => toGgufLora(pissa, base)).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(/PiSSA.*path_initial_model_for_weight_conversion.*--residual-base/),
      }),
    )
  })

  it('should be accepted on what it left of the base', () => {
    expect(toGgufLora(pissa, base, { residualBase: true }).report.modules).toHaveLength(1)
  })
})
