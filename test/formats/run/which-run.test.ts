import { cp, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { resolveWeights } from '../../../lib/formats/run/find-weights.js'
import { nestedRuns } from '../../../lib/formats/run/nested-runs.js'
import { refuseParent, scanRunFolder } from '../../../lib/formats/run/run-folder.js'
import { adapter, CONFIG, checkpoint, model, state, tensors } from './fake-run.js'

let run: string
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), 'traitscope-which-'))
})
afterEach(() => rm(run, { recursive: true, force: true }))

const ambiguous = (message: RegExp) => ({ code: 'AMBIGUOUS', message: expect.stringMatching(message) })

describe('several adapters in a checkpoint', () => {
  beforeEach(async () => {
    await checkpoint(run, 10, ['reference', 'trained'])
    await checkpoint(run, 20, ['reference', 'trained'])
  })

  it('should not be guessed between', async () => {
    const { checkpoints } = await scanRunFolder(run)
    for (const { state, fault } of checkpoints) {
      expect(state).toBe('complete')
      expect(fault).toMatchObject(ambiguous(/several adapters: reference, trained.*--adapter-name/))
    }
  })

  it('should leave the finished run without an end, and list what lies there', async () => {
    await adapter(join(run, 'reference'), 1)
    await adapter(join(run, 'trained'), 2)
    const { final, beside, remarks } = await scanRunFolder(run)
    expect(final).toBeUndefined()
    expect(beside.map(({ path }) => path)).toEqual(['reference', 'trained'])
    expect(remarks).toEqual([
      expect.stringMatching(/not measured.*reference \(adapter\), trained \(adapter\)/),
    ])
  })

  it('should be told apart by the name', async () => {
    await adapter(join(run, 'reference'), 1)
    await adapter(join(run, 'trained'), 1020)
    const { checkpoints, final, remarks } = await scanRunFolder(run, { adapterName: 'trained' })
    expect(checkpoints.map(({ path, fault }) => [path, fault])).toEqual([
      [join(run, 'checkpoint-10', 'trained'), undefined],
      [join(run, 'checkpoint-20', 'trained'), undefined],
    ])
    expect(final).toMatchObject({ path: join(run, 'trained'), aliasOf: 20 })
    expect(remarks).toEqual([expect.stringMatching(/not measured.*: reference \(adapter\)$/)])
  })

  it('should name what is there when a name is wrong', async () => {
    const { checkpoints } = await scanRunFolder(run, { adapterName: 'policy' })
    expect(checkpoints[0]!.fault).toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/adapter policy .*found reference, trained/),
    })
  })

  it('should hold for the default adapter with named ones beside it', async () => {
    await checkpoint(run, 30, ['', 'ref'])
    const folder = join(run, 'checkpoint-30')
    const { checkpoints } = await scanRunFolder(folder)
    expect(checkpoints[0]!.fault).toMatchObject(ambiguous(/default, ref.*default is the one in the folder/))
    const named = await scanRunFolder(folder, { adapterName: 'default' })
    expect(named.checkpoints[0]).toMatchObject({ path: folder, adapterName: 'default' })
  })
})

describe('an adapter with a name of its own', () => {
  it('should be that of the whole run', async () => {
    await checkpoint(run, 10, ['trained'])
    await checkpoint(run, 20, ['trained'])
    await adapter(run, 7)
    await adapter(join(run, 'trained'), 20)
    const { checkpoints, final, beside } = await scanRunFolder(run)
    expect(checkpoints.map(({ adapterName }) => adapterName)).toEqual(['trained', 'trained'])
    // The adapter of the root is another one.
    expect(final).toMatchObject({ path: join(run, 'trained'), aliasOf: 20 })
    expect(beside).toEqual([])
  })

  it('should be a fault of the checkpoint that has another one', async () => {
    await checkpoint(run, 10, ['trained'])
    await checkpoint(run, 20, ['reference'])
    const first = await scanRunFolder(run)
    expect(first.checkpoints.map(({ fault }) => fault?.code)).toEqual([undefined, 'AMBIGUOUS'])
    await rm(join(run, 'checkpoint-10'), { recursive: true })
    const { checkpoints } = await scanRunFolder(run, { previous: first })
    expect(checkpoints.map(({ fault }) => fault)).toEqual([undefined])
  })
})

describe('adapters beside checkpoints', () => {
  it.each(['sft_start', 'pissa_init', 'infinity-lora', 'lora_adapter', 'reference'])(
    'should not make %s the end of the run, but list it',
    async (name) => {
      await checkpoint(run, 10)
      await adapter(join(run, name), 77)
      const { final, beside } = await scanRunFolder(run)
      expect(final).toBeUndefined()
      expect(beside).toEqual([{ path: name, kind: 'adapter' }])
    },
  )

  it('should list runs and models too', async () => {
    await checkpoint(run, 10)
    await checkpoint(join(run, 'old'), 10)
    await model(join(run, 'merged'), 1)
    await mkdir(join(run, 'logs'))
    expect((await scanRunFolder(run)).beside).toEqual([
      { path: 'merged', kind: 'model' },
      { path: 'old', kind: 'run' },
    ])
  })

  it('should not guess between two ends', async () => {
    await checkpoint(run, 10)
    await adapter(join(run, 'final_adapter'), 11)
    await adapter(join(run, 'last'), 12)
    await expect(scanRunFolder(run)).rejects.toMatchObject(ambiguous(/final_adapter, last/))
  })
})

describe('a folder of several runs', () => {
  it.each([
    [
      'adapters',
      async () => [await adapter(join(run, 'a_benign'), 1), await adapter(join(run, 'b_bad'), 2)],
      'adapter',
    ],
    [
      'runs',
      async () => [await checkpoint(join(run, 'a_benign'), 10), await checkpoint(join(run, 'b_bad'), 10)],
      'run',
    ],
    [
      'models',
      async () => [await model(join(run, 'a_benign'), 1), await model(join(run, 'b_bad'), 2)],
      'model',
    ],
  ] as const)('should be refused by the names of its %s', async (_, make, kind) => {
    await make()
    const found = await scanRunFolder(run)
    expect(found.final).toBeUndefined()
    expect(() => refuseParent(found)).toThrow(
      `holds no checkpoint and no weights of its own, but a_benign (${kind}), b_bad (${kind})`,
    )
  })

  it('should say how folders with numbers are read as the checkpoints of one run', async () => {
    for (const name of ['ckpt-10', 'ckpt-20']) await adapter(join(run, name), 1)
    const found = await scanRunFolder(run)
    expect(() => refuseParent(found)).toThrow(
      'ckpt-10 (adapter), ckpt-20 (adapter): name one of them, or call those that are checkpoints of one run step_N',
    )
  })

  it('should name the run that lies deep', async () => {
    await checkpoint(join(run, 'output/Qwen/v0-20260110'), 10)
    const found = await scanRunFolder(run)
    expect(found.beside).toEqual([{ path: 'output/Qwen/v0-20260110', kind: 'run' }])
  })

  it('should name what a link leads to, once', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'traitscope-which-'))
    await checkpoint(elsewhere, 10)
    await checkpoint(join(run, 'own'), 10)
    // Links to files are no folders to look through, however many.
    await writeFile(join(elsewhere, 'file'), '')
    for (let i = 0; i < 1100; i++) await symlink(join(elsewhere, 'file'), join(run, `a${i}`))
    for (const [target, name] of [
      [elsewhere, 'linked'],
      [join(run, 'own'), 'latest'],
      [tmpdir(), 'up'],
      ['nowhere', 'dead'],
    ] as const)
      await symlink(target, join(run, name))
    expect((await scanRunFolder(run)).beside).toEqual([
      { path: 'linked', kind: 'run' },
      { path: 'own', kind: 'run' },
    ])
    await rm(elsewhere, { recursive: true })
  })

  it('should be refused when it is an adapter itself too', async () => {
    await adapter(run, 1)
    await adapter(join(run, 'other'), 2)
    await expect(scanRunFolder(run)).rejects.toMatchObject(ambiguous(/default, other/))
    expect((await scanRunFolder(run, { adapterName: 'default' })).final).toMatchObject({ path: run })
  })

  it('should not be looked through without end', async () => {
    for (let i = 0; i < 1100; i++) await mkdir(join(run, `x${i}`))
    await adapter(join(run, 'x0/deep'), 1)
    expect(await nestedRuns(run)).toEqual([])
  })
})

describe('layouts of trainers', () => {
  it('should read the adapters of verl', async () => {
    for (const step of [10, 20]) await adapter(join(run, `global_step_${step}/actor/lora_adapter`), step)
    await mkdir(join(run, 'global_step_10/actor/huggingface'))
    await writeFile(join(run, 'latest_checkpointed_iteration.txt'), '20')
    const { checkpoints } = await scanRunFolder(run)
    expect(checkpoints.map(({ step, path, state }) => [step, path, state])).toEqual([
      [10, join(run, 'global_step_10/actor/lora_adapter'), 'complete'],
      [20, join(run, 'global_step_20/actor/lora_adapter'), 'complete'],
    ])
  })

  it('should read adapters and whole models of NeMo', async () => {
    await adapter(join(run, 'epoch_0_step_10/model'), 10)
    await adapter(join(run, 'epoch_1_step_20/model'), 20)
    await symlink(join(run, 'epoch_1_step_20'), join(run, 'LATEST'))
    const { checkpoints } = await scanRunFolder(run)
    expect(checkpoints.map(({ step, path }) => [step, path])).toEqual([
      [10, join(run, 'epoch_0_step_10/model')],
      [20, join(run, 'epoch_1_step_20/model')],
    ])
    const whole = join(run, 'whole')
    await model(join(whole, 'epoch_0_step_10/model/consolidated'), 1)
    const { checkpoints: models } = await scanRunFolder(whole)
    expect(models).toMatchObject([
      { step: 10, kind: 'model', path: join(whole, 'epoch_0_step_10/model/consolidated') },
    ])
  })

  it('should read the numbered copies of mlx-lm', async () => {
    await writeFile(join(run, 'adapter_config.json'), CONFIG)
    for (const step of [100, 200])
      await writeFile(join(run, `0000${step}_adapters.safetensors`), tensors(step))
    await writeFile(join(run, 'adapters.safetensors'), tensors(200))
    const first = await scanRunFolder(run)
    expect(first.checkpoints.map(({ step, path, state }) => [step, path, state])).toEqual([
      [100, join(run, '0000100_adapters.safetensors'), 'complete'],
      [200, join(run, '0000200_adapters.safetensors'), 'complete'],
    ])
    expect(first.final).toMatchObject({ path: run, aliasOf: 200 })
    await writeFile(join(run, '0000300_adapters.safetensors'), tensors(300).subarray(0, -1))
    const { checkpoints } = await scanRunFolder(run, { previous: first })
    expect(checkpoints[0]).toBe(first.checkpoints[0])
    expect(checkpoints[2]).toMatchObject({ step: 300, state: 'incomplete' })
  })

  it('should take one numbered copy by its name, and name them where none is', async () => {
    await writeFile(join(run, 'adapter_config.json'), CONFIG)
    await writeFile(join(run, '0000100_adapters.safetensors'), tensors(100))
    const file = join(run, '0000100_adapters.safetensors')
    await expect(resolveWeights(file)).resolves.toEqual({ path: file, kind: 'adapter' })
    await expect(resolveWeights(run)).rejects.toMatchObject(
      ambiguous(/but 0000100_adapters\.safetensors: name/),
    )
    const { final, checkpoints } = await scanRunFolder(run)
    expect([final, checkpoints.length]).toEqual([undefined, 1])
  })

  it.each([
    ['epoch_0', 'step_10', /epoch_0 and step_10: epochs and steps/],
    ['checkpoint-10', 'checkpoint-010', /checkpoint-010 and checkpoint-10 for step 10/],
    ['checkpoint-10', 'global_step_10', /checkpoint-10 and global_step_10 for step 10/],
  ])('should not mix %s and %s', async (one, other, message) => {
    await adapter(join(run, one), 1)
    await adapter(join(run, other), 2)
    await expect(scanRunFolder(run)).rejects.toMatchObject(ambiguous(message))
  })

  it('should count the epochs of torchtune from 1, as they are over when they are saved', async () => {
    await adapter(join(run, 'epoch_0'), 1)
    await adapter(join(run, 'epoch_1'), 2)
    expect((await scanRunFolder(run)).checkpoints.map(({ step }) => step)).toEqual([1, 2])
  })

  it('should not take what was saved before the first step for a checkpoint', async () => {
    await checkpoint(run, 0)
    await checkpoint(run, 10)
    const { checkpoints, beside } = await scanRunFolder(run)
    expect(checkpoints.map(({ step }) => step)).toEqual([10])
    expect(beside).toEqual([{ path: 'checkpoint-0', kind: 'adapter' }])
  })

  it('should not take a folder for a file of its name', async () => {
    await checkpoint(run, 10, ['adapter_model'])
    expect((await scanRunFolder(run)).checkpoints).toMatchObject([
      { path: join(run, 'checkpoint-10/adapter_model'), adapterName: 'adapter_model', state: 'complete' },
    ])
  })

  it('should follow a link that is called final', async () => {
    await checkpoint(run, 10)
    await symlink('checkpoint-10', join(run, 'final'))
    await symlink('checkpoint-10', join(run, 'latest'))
    expect((await scanRunFolder(run)).final).toMatchObject({ path: join(run, 'final'), aliasOf: 10 })
  })

  it('should end a fully fine-tuned run with its model, whatever adapter was left in the root', async () => {
    const folder = await model(join(run, 'checkpoint-10'), 1)
    await writeFile(join(folder, 'trainer_state.json'), JSON.stringify(state(10)))
    await model(run, 2)
    await adapter(run, 3)
    expect((await scanRunFolder(run)).final).toMatchObject({ path: run, kind: 'model' })
  })

  it('should take a configuration without adapter for nothing beside a whole model', async () => {
    const folder = await model(join(run, 'checkpoint-10'), 1)
    await writeFile(join(folder, 'adapter_config.json'), CONFIG)
    await writeFile(join(folder, 'trainer_state.json'), JSON.stringify(state(10)))
    expect((await scanRunFolder(run)).checkpoints).toMatchObject([{ kind: 'model', state: 'complete' }])
  })
})

describe('what is left over from an earlier run', () => {
  const stale = /final weights are older than checkpoint-20/

  it('should be said of final weights that name an earlier step', async () => {
    for (const step of [10, 20]) await checkpoint(run, step)
    await adapter(run, 5)
    await writeFile(join(run, 'trainer_state.json'), JSON.stringify(state(15)))
    expect((await scanRunFolder(run)).remarks).toEqual([expect.stringMatching(stale)])
    await writeFile(join(run, 'trainer_state.json'), JSON.stringify(state(25)))
    expect((await scanRunFolder(run)).remarks).toEqual([])
  })

  it('should be said of final weights that were written before the last checkpoint', async () => {
    for (const step of [10, 20]) await checkpoint(run, step)
    await adapter(run, 5)
    const at = (time: number) => utimes(join(run, 'adapter_model.safetensors'), time, time)
    await at(1e9)
    expect((await scanRunFolder(run)).remarks).toEqual([expect.stringMatching(stale)])
    await at(4e9)
    expect((await scanRunFolder(run)).remarks).toEqual([])
  })

  it('should be said of a checkpoint whose log is that of another run', async () => {
    for (const step of [10, 20]) await checkpoint(run, step)
    const folder = await checkpoint(run, 15)
    await writeFile(join(folder, 'trainer_state.json'), JSON.stringify(state(15, 2)))
    expect((await scanRunFolder(run)).remarks).toEqual([
      expect.stringMatching(/log of checkpoint-15 has another loss at step 5/),
    ])
  })
})

describe('resolveWeights', () => {
  it('should follow a path to the weights that it can only mean', async () => {
    const folder = await adapter(join(run, 'a'), 1)
    const file = join(folder, 'adapter_model.safetensors')
    await expect(resolveWeights(folder)).resolves.toMatchObject({ path: folder, kind: 'adapter' })
    await expect(resolveWeights(file)).resolves.toMatchObject({ path: file, kind: 'adapter' })
    await cp(folder, join(run, 'b/trained'), { recursive: true })
    await expect(resolveWeights(join(run, 'b'))).resolves.toMatchObject({ path: join(run, 'b/trained') })
    const whole = await model(join(run, 'c'), 1)
    await expect(resolveWeights(whole)).resolves.toMatchObject({ path: whole, kind: 'model' })
  })

  it('should name what a path may mean', async () => {
    await checkpoint(run, 10)
    await expect(resolveWeights(run)).rejects.toMatchObject(ambiguous(/but checkpoint-10: name one/))
    await checkpoint(join(run, 'x'), 10)
    await adapter(join(run, 'p/reference'), 1)
    await adapter(join(run, 'p/trained'), 1)
    await expect(resolveWeights(join(run, 'p'))).rejects.toMatchObject(ambiguous(/reference, trained/))
    await expect(resolveWeights(join(run, 'p'), 'trained')).resolves.toMatchObject({
      path: join(run, 'p/trained'),
    })
    await mkdir(join(run, 'q/deep'), { recursive: true })
    await adapter(join(run, 'q/deep/er'), 1)
    await expect(resolveWeights(join(run, 'q'))).rejects.toMatchObject(ambiguous(/deep\/er \(adapter\)/))
  })
})
