import { cp, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readPeftAdapter } from '../../../lib/formats/peft/peft.js'
import { loraScaling, parsePeftConfig } from '../../../lib/formats/peft/peft-config.js'
import { hashCheckpoint } from '../../../lib/formats/run/checkpoint-folder.js'
import { resolveWeights } from '../../../lib/formats/run/find-weights.js'
import { encodeSafetensors, type SafetensorsInput } from '../../../lib/formats/safetensors/safetensors.js'
import { loraDeltaNorm } from '../../../lib/model/lora/lora-norm.js'
import { packageRoot } from '../../../lib/package.js'

const fixtures = join(packageRoot, 'test/fixtures/formats')

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-peft-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const Q = 'base_model.model.model.layers.0.self_attn.q_proj'
const tensor = (name: string, shape: number[], fill = 1): SafetensorsInput => ({
  name,
  dtype: 'F32',
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill),
})
const pair = (path = Q, r = 2) => [
  tensor(`${path}.lora_A.weight`, [r, 4]),
  tensor(`${path}.lora_B.weight`, [6, r]),
]
const config = { peft_type: 'LORA', r: 2, lora_alpha: 4 }

async function write(tensors: SafetensorsInput[], json: unknown = config): Promise<string> {
  await writeFile(join(folder, 'adapter_model.safetensors'), encodeSafetensors(tensors, { format: 'pt' }))
  await writeFile(join(folder, 'adapter_config.json'), typeof json === 'string' ? json : JSON.stringify(json))
  return folder
}

describe('readPeftAdapter', () => {
  it('should read the same from disk on demand, check it at once, and notice another file', async () => {
    const folder = await write(pair())
    const { modules } = await readPeftAdapter(folder, { values: 'disk' })
    expect(modules.map((module) => ({ ...module }))).toEqual((await readPeftAdapter(folder)).modules)
    const file = join(folder, 'adapter_model.safetensors')
    await utimes(file, new Date(), new Date(2000))
    expect(() => modules[0]!.a).toThrow(expect.objectContaining({ code: 'FILE_VANISHED' }))
    await rm(file)
    expect(() => modules[0]!.b).toThrow(expect.objectContaining({ code: 'FILE_VANISHED' }))
  })

  it('should compute rank, scale and size of every module as PEFT does', async () => {
    const adapter = await readPeftAdapter(join(fixtures, 'adapter'))
    const expected = JSON.parse(await readFile(join(fixtures, 'adapter.json'), 'utf8')) as Record<
      string,
      { r: number; scale: number; deltaNorm: number }
    >
    expect(adapter.modules.map(({ path }) => path)).toEqual(Object.keys(expected).sort())
    for (const module of adapter.modules) {
      const { r, scale, deltaNorm } = expected[module.path]!
      expect([module.r, module.scale], module.path).toEqual([r, scale])
      expect(Math.abs(loraDeltaNorm(module) / deltaNorm - 1), module.path).toBeLessThan(1e-6)
    }
    expect(adapter.config).toMatchObject({ r: 4, loraAlpha: 6, useRslora: true, peftVersion: '0.21.2' })
  })

  it('should read matrices, shapes and scale', async () => {
    const { modules } = await readPeftAdapter(await write(pair()))
    expect(modules).toHaveLength(1)
    expect(modules[0]).toMatchObject({
      path: 'model.layers.0.self_attn.q_proj',
      r: 2,
      inFeatures: 4,
      outFeatures: 6,
      scale: 2,
    })
    expect([modules[0]!.a.length, modules[0]!.b.length]).toEqual([8, 12])
  })

  it('should take an alpha of 0 and an all-zero B as they are', async () => {
    const tensors = [tensor(`${Q}.lora_A.weight`, [2, 4]), tensor(`${Q}.lora_B.weight`, [6, 2], 0)]
    const { modules } = await readPeftAdapter(await write(tensors, { ...config, lora_alpha: 0 }))
    expect(modules[0]!.scale).toBe(0)
    expect(modules[0]!.b.every((value) => value === 0)).toBe(true)
  })

  it('should strip the prefix once, at the start', async () => {
    const { modules } = await readPeftAdapter(await write(pair(`base_model.model.x.base_model.model.y`)))
    expect(modules[0]!.path).toBe('x.base_model.model.y')
  })

  it('should give equal weights one identity, wherever they are and whatever the rest says', async () => {
    const first = (await readPeftAdapter(await write(pair()))).sha256
    const copy = join(folder, 'copy')
    await mkdir(copy)
    await cp(join(folder, 'adapter_model.safetensors'), join(copy, 'adapter_model.safetensors'))
    const other = { ...config, base_model_name_or_path: 'elsewhere', lora_dropout: 0.5, inference_mode: true }
    await writeFile(join(copy, 'adapter_config.json'), JSON.stringify(other))
    expect((await readPeftAdapter(copy)).sha256).toBe(first)
    expect(await hashCheckpoint(copy)).toBe(first)
    await writeFile(join(copy, 'adapter_config.json'), JSON.stringify({ ...config, lora_alpha: 5 }))
    expect((await readPeftAdapter(copy)).sha256).not.toBe(first)
  })

  const missing: [string, string[], string, RegExp][] = [
    ['an empty folder', [], 'FILE_NOT_FOUND', /found nothing/],
    [
      'only a configuration',
      ['adapter_config.json'],
      'FILE_INCOMPLETE',
      /expected adapter_model\.safetensors/,
    ],
    ['only tensors', ['adapter_model.safetensors'], 'FILE_INCOMPLETE', /expected adapter_config\.json/],
    ['a pickle', ['adapter_config.json', 'adapter_model.bin'], 'UNSUPPORTED', /safe_serialization/],
    [
      'parts of DeepSpeed',
      ['config.json', 'latest', 'zero_to_fp32.py'],
      'UNSUPPORTED',
      /python zero_to_fp32\.py \. \. --safe_serialization/,
    ],
    ['FSDP shards', ['adapter_config.json', 'pytorch_model_fsdp_0'], 'UNSUPPORTED', /FULL_STATE_DICT/],
  ]
  it.each(missing)('should say what %s lacks', async (_, names, code, message) => {
    for (const name of names) await writeFile(join(folder, name), '{}')
    await expect(readPeftAdapter(folder)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
  })

  it('should name a GGUF adapter, and the pointer of a clone without Git LFS, as what they are', async () => {
    await expect(readPeftAdapter(join(folder, 'lora.gguf'))).rejects.toThrow(
      /found the GGUF .*lora\.gguf; name the/,
    )
    await expect(resolveWeights(join(folder, 'lora.gguf'))).rejects.toThrow(
      /found the GGUF .*lora\.gguf; name the/,
    )
    await write(pair())
    const path = join(folder, 'adapter_model.safetensors')
    await writeFile(
      path,
      `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 59392\n`,
    )
    await expect(readPeftAdapter(folder)).rejects.toThrow(/is a pointer of Git LFS.*git lfs pull/)
    await writeFile(path, `<!DOCTYPE html>${' '.repeat(2000)}`)
    await expect(readPeftAdapter(folder)).rejects.toThrow(/found text that begins with "<!DOCTYP"/)
  })

  it('should prefer safetensors to a pickle beside it', async () => {
    await write(pair())
    await writeFile(join(folder, 'adapter_model.bin'), 'pickle')
    expect((await readPeftAdapter(folder)).modules).toHaveLength(1)
  })

  it('should name a missing folder and a file in its place', async () => {
    await expect(readPeftAdapter(join(folder, 'no'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await writeFile(join(folder, 'file'), '')
    await expect(readPeftAdapter(join(folder, 'file'))).rejects.toThrow(/expected a folder .* found a file/)
  })

  it('should call a half-written tensor file incomplete', async () => {
    await write(pair())
    const path = join(folder, 'adapter_model.safetensors')
    const whole = await readFile(path)
    await writeFile(path, whole.subarray(0, whole.length - 4))
    await expect(readPeftAdapter(folder)).rejects.toMatchObject({ code: 'FILE_INCOMPLETE' })
  })

  const invalid: [string, SafetensorsInput[], RegExp][] = [
    ['no tensors', [], /found no LoRA tensors.*ZeRO-3/],
    [
      'empty tensors',
      [tensor(`${Q}.lora_A.weight`, [0]), tensor(`${Q}.lora_B.weight`, [0])],
      /found an empty tensor.*ZeRO-3/,
    ],
    ['an A without B', pair().slice(0, 1), /found no lora_B/],
    ['a B without A', pair().slice(1), /found no lora_A/],
    ['another rank than the configuration', pair(Q, 3), /expected rank 2.*lora_A \[3,4\] and lora_B \[6,3\]/],
    [
      'A and B of different ranks',
      [tensor(`${Q}.lora_A.weight`, [2, 4]), tensor(`${Q}.lora_B.weight`, [6, 3])],
      /expected rank 2/,
    ],
    [
      'NaN',
      [tensor(`${Q}.lora_A.weight`, [2, 4], Number.NaN), pair()[1]!],
      /q_proj\.lora_A\.weight".*found NaN/,
    ],
    [
      'infinity',
      [pair()[0]!, tensor(`${Q}.lora_B.weight`, [6, 2], Number.NEGATIVE_INFINITY)],
      /q_proj\.lora_B\.weight".*found -Infinity/,
    ],
  ]
  it.each(invalid)('should refuse %s', async (_, tensors, message) => {
    await expect(readPeftAdapter(await write(tensors))).rejects.toMatchObject({
      code: 'ADAPTER_INVALID',
      message: expect.stringMatching(message),
    })
  })

  const extra: [string, string, RegExp][] = [
    [
      'torch.compile',
      `${Q.replace('model.layers', '_orig_mod.model.layers')}.lora_A.weight`,
      /torch\.compile/,
    ],
    ['FSDP', `${Q.replace('layers.0', 'layers.0._fsdp_wrapped_module')}.lora_A.weight`, /comes from FSDP/],
    ['DDP', `module.${Q}.lora_A.weight`, /comes from DistributedDataParallel/],
    [
      'PEFT on PEFT',
      `base_model.model.${Q}.lora_A.weight`,
      /get_peft_model on a PEFT model.*k\.replace\("base_model\.model\.base_model\.model\.", "base_model\.model\."\)/,
    ],
    ['BD-LoRA', `${Q}.lora_diag`, /diagonal/],
    ['a foreign key', 'something.else', /not a tensor that PEFT writes/],
    [
      'a key without prefix',
      'model.layers.0.self_attn.q_proj.lora_A.weight',
      /without the "base_model\.model\." in front.*"base_model\.model\." \+ k/,
    ],
    ['__proto__', '__proto__', /not a tensor that PEFT writes/],
  ]
  it.each(extra)('should refuse %s by the name of its tensor', async (_, name, message) => {
    const reading = readPeftAdapter(await write([...pair(), tensor(name, [4])]))
    await expect(reading).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(message),
    })
    await expect(reading).rejects.toThrow(JSON.stringify(name))
  })

  it('should read the tensors of a state_dict, whose names have that of the adapter', async () => {
    const named = (name: string) => name.replace(/(lora_[AB])/, '$1.policy')
    const saved = await readPeftAdapter(await write(pair()))
    const raw = pair().map((one) => ({ ...one, name: named(one.name) }))
    const head = tensor('base_model.model.lm_head.modules_to_save.policy.weight', [5, 4], 3)
    const original = tensor('base_model.model.lm_head.original_module.weight', [5, 4], 1)
    const { modules, replaced } = await readPeftAdapter(await write([...raw, head, original]))
    expect(modules).toEqual(saved.modules)
    expect(replaced.map(({ path, part }) => [path, part])).toEqual([['lm_head', 'weight']])
    expect(replaced[0]!.rows([0])).toEqual(new Float32Array(4).fill(3))
  })

  it('should refuse a state_dict of several adapters by their names', async () => {
    const raw = ['default', 'ref'].flatMap((adapter) =>
      pair().map((one) => ({ ...one, name: one.name.replace('.weight', `.${adapter}.weight`) })),
    )
    await expect(readPeftAdapter(await write(raw))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/holds the adapters default, ref/),
    })
  })

  it('should say that a whole model beside the adapter is not read', async () => {
    await write(pair())
    await writeFile(join(folder, 'model-00001-of-00002.safetensors'), '')
    expect((await readPeftAdapter(folder)).remarks).toEqual([
      'the adapter is read; the whole model beside it (model-00001-of-00002.safetensors) is not',
    ])
  })

  it.each([
    [{ target_modules: ['q_proj', 'v_proj'] }, undefined],
    [{ target_modules: ['self_attn.q_proj', 'model.layers.1.self_attn.v_proj'] }, undefined],
    [{ target_modules: ['q_proj', 'v_proj'], layers_to_transform: [0, 1] }, undefined],
    [
      { target_modules: ['q_proj'] },
      /^1 of 2 modules in the file \(model\.layers\.1\.self_attn\.v_proj\) are not/,
    ],
    [
      { target_modules: ['proj'] },
      /^2 of 2 modules in the file \(model\.layers\.0\.self_attn\.q_proj, \.\.\.\)/,
    ],
    [{ target_modules: ['q_proj', 'v_proj'], layers_to_transform: [0] }, /^1 of 2 .*PEFT leaves them out/],
    [
      { target_modules: ['q_proj', 'v_proj'], layers_to_transform: 1 },
      /^1 of 2 .*layers\.0\.self_attn\.q_proj/,
    ],
    [{ target_modules: 'all-linear' }, undefined],
    [{ target_modules: '.*v_proj' }, undefined],
    [{ target_modules: null }, undefined],
  ])('should say which modules of the file are not targeted by %j', async (targets, remark) => {
    const V = 'base_model.model.model.layers.1.self_attn.v_proj'
    await write([...pair(), ...pair(V)], { ...config, ...targets })
    const { remarks, modules } = await readPeftAdapter(folder)
    expect(modules).toHaveLength(2)
    expect(remarks).toEqual(remark === undefined ? [] : [expect.stringMatching(remark)])
  })

  it('should say which names in modules_to_save the file holds no tensor of', async () => {
    await write(pair(), { ...config, modules_to_save: ['embed_token'] })
    const { unsaved, remarks } = await readPeftAdapter(folder)
    expect(unsaved).toEqual(['embed_token'])
    expect(remarks).toEqual([
      expect.stringMatching(/names "embed_token" in modules_to_save.*no tensor of it/),
    ])
  })

  it("should read Unsloth's configuration of an adapter of mlx, which names PEFT's kind too", async () => {
    const mlx = join(packageRoot, 'test/fixtures/layouts/mlx-lm')
    const plain = await readPeftAdapter(mlx)
    const {
      model: _,
      fine_tune_type: __,
      ...own
    } = JSON.parse(await readFile(join(mlx, 'adapter_config.json'), 'utf8')) as Record<string, unknown>
    const both = {
      ...own,
      peft_type: 'LORA',
      base_model_name_or_path: 'a/base',
      rank: 3,
      scale: 2.5,
      dropout: 0,
    }
    await cp(join(mlx, 'adapters.safetensors'), join(folder, 'adapters.safetensors'))
    await writeFile(join(folder, 'adapter_config.json'), JSON.stringify(both))
    const adapter = await readPeftAdapter(folder)
    expect(adapter.modules).toEqual(plain.modules)
    expect([adapter.sha256, adapter.config.baseModel]).toEqual([plain.sha256, 'a/base'])
    expect(await hashCheckpoint(folder)).toBe(plain.sha256)
    await write(pair(), both)
    await expect(readPeftAdapter(folder)).rejects.toThrow(/sets "/)
  })

  it("should read Tinker's name of the head, and say so", async () => {
    await write([...pair(), ...pair('base_model.model.model.unembed_tokens')])
    const { modules, remarks } = await readPeftAdapter(folder)
    expect(modules.map(({ path }) => path)).toEqual(['lm_head', 'model.layers.0.self_attn.q_proj'])
    expect(remarks).toEqual([expect.stringMatching(/^model\.unembed_tokens is read as lm_head/)])
  })

  it('should say where PEFT has sorted keys of alpha_pattern of which several match', async () => {
    const said = async (alpha_pattern: object) => {
      await write(pair(), { ...config, alpha_pattern })
      return (await readPeftAdapter(folder)).remarks
    }
    expect(await said({ q_proj: 8, 'self_attn.q_proj': 2 })).toEqual([
      expect.stringMatching(/^several keys of alpha_pattern match model\.layers\.0\.self_attn\.q_proj, and/),
    ])
    expect(await said({ q_proj: 8, 'self_attn.q_proj': 8, v_proj: 1 })).toEqual([])
  })

  it('should refuse an adapter in several files', async () => {
    await writeFile(join(folder, 'adapter_config.json'), JSON.stringify(config))
    await writeFile(join(folder, 'adapter_model-00001-of-00002.safetensors'), '')
    await expect(readPeftAdapter(folder)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/in several files.*max_shard_size/),
    })
  })

  it('should refuse convolutions and integer tensors', async () => {
    const conv = [tensor(`${Q}.lora_A.weight`, [2, 4, 1, 1]), tensor(`${Q}.lora_B.weight`, [6, 2, 1, 1])]
    await expect(readPeftAdapter(await write(conv))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    const whole: SafetensorsInput = { ...pair()[0]!, dtype: 'I32' }
    await expect(readPeftAdapter(await write([whole, pair()[1]!]))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    })
  })

  it('should refuse a configuration that is no JSON or no object', async () => {
    await expect(readPeftAdapter(await write(pair(), '{"r": 2'))).rejects.toMatchObject({
      code: 'FILE_INVALID',
    })
    await expect(readPeftAdapter(await write(pair(), []))).rejects.toMatchObject({ code: 'ADAPTER_INVALID' })
  })
})

describe('parsePeftConfig', () => {
  const parse = (fields: object) => parsePeftConfig({ ...config, ...fields }, 'adapter_config.json')

  it('should use the defaults of PEFT', () => {
    expect(parsePeftConfig({ peft_type: 'LORA' }, 'x')).toMatchObject({
      r: 8,
      loraAlpha: 8,
      useRslora: false,
    })
  })

  it.each([
    ['true', { init_lora_weights: true }],
    ['false', { init_lora_weights: false }],
    ['gaussian', { init_lora_weights: 'gaussian' }],
    ['orthogonal', { init_lora_weights: 'orthogonal' }],
    ['eva', { init_lora_weights: 'eva', eva_config: { rho: 2 } }],
    ['mica', { init_lora_weights: 'mica' }],
    ['VeLoRA, a backward pass', { velora_config: { rank: 1 } }],
    [
      'lists of targets',
      { target_modules: ['q_proj'], exclude_modules: ['x'], layers_to_transform: [0], layers_pattern: 'h' },
    ],
    ['the Megatron module name', { megatron_core: 'megatron.core', megatron_config: null }],
    ['unset fields of later versions', { some_new_field: null, another: false, more: [], and: {} }],
    ['a fractional alpha', { lora_alpha: 5.656854249492381 }],
    ['trained biases, seen in the tensors', { bias: 'all', lora_bias: true, use_dora: true }],
  ])('should accept %s', (_, fields) => {
    expect(parse(fields)).toMatchObject({ r: 2 })
  })

  it.each([
    ['pissa', 'PiSSA'],
    ['pissa_niter_16', 'PiSSA'],
    ['olora', 'OLoRA'],
    ['corda', 'CorDA'],
    ['lora_ga', 'LoRA-GA'],
    ['loftq', 'LoftQ'],
    ['gaussian', undefined],
  ])('should name the initialisation %s if it moved the base', (init, name) => {
    expect(parse({ init_lora_weights: init }).movedBase).toBe(name)
  })

  const refused: [object, RegExp][] = [
    [{ peft_type: 'ADALORA' }, /found "ADALORA"/],
    [{ peft_type: 'IA3' }, /found "IA3"/],
    [{ peft_type: undefined }, /found no peft_type/],
    [{ target_parameters: ['mlp.experts.gate_up_proj'] }, /"target_parameters"/],
    [{ fan_in_fan_out: true }, /"fan_in_fan_out"/],
    [{ layer_replication: [[0, 4]] }, /"layer_replication"/],
    [{ megatron_config: { tp: 2 } }, /"megatron_config"/],
    [{ alora_invocation_tokens: [1, 2] }, /"alora_invocation_tokens"/],
    [{ use_qalora: true }, /QA-LoRA/],
    [{ use_bdlora: { nblocks: 2 } }, /BD-LoRA/],
    [{ arrow_config: { top_k: 3 } }, /Arrow/],
    [{ monteclora_config: { a: 1 } }, /MonteCLoRA/],
    [{ kasa_config: { a: 1 } }, /KaSA/],
    [{ init_lora_weights: 'tomorrow' }, /does not know/],
    [{ init_lora_weights: { type: 'x' } }, /does not know/],
    [{ new_feature: { strength: 2 } }, /"new_feature".*does not know/],
    [{ constructor: 1 }, /"constructor".*does not know/],
  ]
  it.each(refused)('should refuse %j by name', (fields, message) => {
    expect(() => parse(fields)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(message) }),
    )
  })

  it.each([
    [{ r: 0 }],
    [{ r: -1 }],
    [{ r: 2.5 }],
    [{ r: '8' }],
    [{ r: 1e9 }],
    [{ lora_alpha: Number.NaN }],
    [{ lora_alpha: Number.POSITIVE_INFINITY }],
    [{ lora_alpha: '16' }],
    [{ use_rslora: 'yes' }],
    [{ rank_pattern: ['q_proj'] }],
    [{ rank_pattern: { q_proj: 0 } }],
    [{ rank_pattern: { q_proj: '4' } }],
    [{ alpha_pattern: { q_proj: null } }],
    [{ alpha_pattern: 'q_proj' }],
    [{ use_dora: 'yes' }],
    [{ modules_to_save: 'lm_head' }],
    [{ trainable_token_indices: 5 }],
    [{ trainable_token_indices: [1, 1] }],
    [{ trainable_token_indices: { embed_tokens: [-1] } }],
  ])('should refuse the value %j', (fields) => {
    expect(() => parse(fields)).toThrow(expect.objectContaining({ code: 'ADAPTER_INVALID' }))
  })
})

describe('loraScaling', () => {
  it.each([
    ['plain', {}, 'a.q_proj', 4, 2],
    ['rank pattern', { rank_pattern: { q_proj: 16 } }, 'a.q_proj', 16, 0.5],
    ['alpha pattern', { alpha_pattern: { q_proj: 32 } }, 'a.q_proj', 4, 8],
    ['both', { rank_pattern: { q_proj: 16 }, alpha_pattern: { q_proj: 32 } }, 'a.q_proj', 16, 2],
    ['no match', { rank_pattern: { v_proj: 16 } }, 'a.q_proj', 4, 2],
    ['rsLoRA', { use_rslora: true }, 'a.q_proj', 4, 4],
    ['rsLoRA with rank pattern', { use_rslora: true, rank_pattern: { q_proj: 16 } }, 'a.q_proj', 16, 2],
    ['first of two', { rank_pattern: { '.*': 3, q_proj: 16 } }, 'a.q_proj', 3, 8 / 3],
    ['alpha of 0', { lora_alpha: 0 }, 'a.q_proj', 4, 0],
  ])('should apply %s', (_, fields, path, r, scale) => {
    const parsed = parsePeftConfig({ peft_type: 'LORA', r: 4, lora_alpha: 8, ...fields }, 'x')
    expect(loraScaling(parsed)(path)).toEqual({ r, scale })
  })
})
