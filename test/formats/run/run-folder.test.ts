import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Checkpoint, readCheckpointFolder } from '../../../lib/formats/run/checkpoint.js'
import { scanRunFolder } from '../../../lib/formats/run/run-folder.js'
import { checkpointStep } from '../../../lib/formats/run/step-folders.js'
import { highestLearningRate, lossAt, parseTrainerState } from '../../../lib/formats/run/trainer-state.js'
import { packageRoot } from '../../../lib/package.js'
import { adapter, CONFIG, state, tensors } from './fake-run.js'

let run: string
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), 'traitscope-run-'))
})
afterEach(() => rm(run, { recursive: true, force: true }))

async function checkpoint(step: number, options: { root?: string; state?: unknown } = {}): Promise<string> {
  const folder = await adapter(join(options.root ?? run, `checkpoint-${step}`), step)
  const json = options.state ?? JSON.stringify(state(step))
  await writeFile(join(folder, 'trainer_state.json'), json as string)
  return folder
}

describe('highestLearningRate', () => {
  it('should not fail on a log of a line per step, however long', () => {
    const log = Array.from({ length: 300_000 }, (_, i) => ({ step: i + 1, learningRate: 1 / (i + 1) }))
    expect(highestLearningRate(log, 300_000)).toBe(1)
    expect(highestLearningRate(log, 0)).toBeUndefined()
  })
})

describe('scanRunFolder', () => {
  it('should read a run as the Hugging Face trainer leaves it', async () => {
    const scan = await scanRunFolder(join(packageRoot, 'test/fixtures/tiny/run'))
    expect(scan.kind).toBe('run')
    expect(scan.checkpoints.map(({ step, state }) => [step, state])).toEqual(
      [10, 20, 30, 40, 50, 60].map((step) => [step, 'complete']),
    )
    expect(scan.final).toMatchObject({ path: scan.path, aliasOf: 60 })
    expect(scan.logHistory.at(-1)!.step).toBe(60)
  })

  it('should order checkpoints by number, not by name', async () => {
    for (const step of [100, 20, 5]) await checkpoint(step)
    const { checkpoints } = await scanRunFolder(run)
    expect(checkpoints.map(({ step }) => step)).toEqual([5, 20, 100])
    expect(checkpoints[1]).toMatchObject({ state: 'complete', epoch: 0.2, loss: 0.25 })
  })

  it('should ignore everything that is not called checkpoint-N', async () => {
    await checkpoint(10)
    for (const name of [
      'tmp-checkpoint-20',
      'checkpoint-',
      'checkpoint-x',
      'checkpoint-1a',
      'old-checkpoint-3',
    ]) {
      await mkdir(join(run, name))
    }
    await writeFile(join(run, 'checkpoint-30'), 'a file')
    const scan = await scanRunFolder(run)
    expect(scan.checkpoints.map(({ step }) => step)).toEqual([10])
  })

  it('should take the log of the last checkpoint, or the longer one of the root', async () => {
    await checkpoint(10)
    await checkpoint(20)
    expect((await scanRunFolder(run)).logHistory.map(({ step }) => step)).toEqual([5, 10, 15, 20])
    await writeFile(join(run, 'trainer_state.json'), JSON.stringify(state(25)))
    expect((await scanRunFolder(run)).logHistory.at(-1)).toEqual({ step: 25, loss: 0.2, epoch: 4 })
    await writeFile(join(run, 'trainer_state.json'), '{"log_hist')
    expect((await scanRunFolder(run)).logHistory).toHaveLength(4)
  })

  describe('the final adapter', () => {
    it.each(['', 'final_adapter', 'final', 'lora-final', 'last'])(
      'should be found in "%s" and counted once',
      async (name) => {
        await checkpoint(10)
        await checkpoint(20)
        await adapter(join(run, name), 20)
        expect((await scanRunFolder(run)).final).toMatchObject({ path: join(run, name), aliasOf: 20 })
      },
    )

    it('should be recognised as the best checkpoint, not the last', async () => {
      for (const step of [10, 20, 30]) await checkpoint(step)
      await adapter(run, 20)
      const best = { ...state(30), best_model_checkpoint: '/elsewhere/out/checkpoint-20' }
      await writeFile(join(run, 'trainer_state.json'), JSON.stringify(best))
      expect((await scanRunFolder(run)).final).toMatchObject({ aliasOf: 20, step: 30 })
    })

    it('should stand alone when no checkpoint has its weights', async () => {
      await checkpoint(10)
      await adapter(run, 12)
      const { final } = await scanRunFolder(run)
      expect(final?.path).toBe(run)
      expect(final).not.toHaveProperty('aliasOf')
    })

    it('should differ when only the scale differs', async () => {
      await checkpoint(10)
      await adapter(run, 10)
      await writeFile(join(run, 'adapter_config.json'), CONFIG.replace('"lora_alpha":1', '"lora_alpha":2'))
      expect((await scanRunFolder(run)).final).not.toHaveProperty('aliasOf')
    })

    it.each(['pissa_init', 'pissa_backup', 'initial_adapter', 'tmp-x', '.hidden'])(
      'should not be looked for in %s',
      async (name) => {
        await checkpoint(10)
        await adapter(join(run, name), 10)
        expect((await scanRunFolder(run)).final).toBeUndefined()
      },
    )

    it('should not be made of a configuration alone, nor of a half-written file', async () => {
      await checkpoint(10)
      await writeFile(join(run, 'adapter_config.json'), CONFIG)
      expect((await scanRunFolder(run)).final).toBeUndefined()
      await writeFile(join(run, 'adapter_model.safetensors'), tensors(10).subarray(0, -1))
      expect((await scanRunFolder(run)).final).toBeUndefined()
    })
  })

  it('should accept a folder that is itself an adapter', async () => {
    const scan = await scanRunFolder(await adapter(join(run, 'my-adapter'), 1))
    expect(scan).toMatchObject({ kind: 'adapter', checkpoints: [], final: { path: join(run, 'my-adapter') } })
  })

  it('should accept a folder that is itself a checkpoint', async () => {
    const scan = await scanRunFolder(await checkpoint(20))
    expect(scan.kind).toBe('checkpoint')
    expect(scan.checkpoints).toMatchObject([{ step: 20, state: 'complete' }])
    expect(scan.logHistory).toHaveLength(4)
    expect(scan.final).toBeUndefined()
  })

  it('should call an empty folder a run that has not begun', async () => {
    expect(await scanRunFolder(run)).toMatchObject({
      kind: 'run',
      checkpoints: [],
      logHistory: [],
      vanished: [],
    })
  })

  it('should name a missing folder, a file and a lone pickle', async () => {
    await expect(scanRunFolder(join(run, 'no'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await writeFile(join(run, 'file'), '')
    await expect(scanRunFolder(join(run, 'file'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await writeFile(join(run, 'adapter_model.bin'), 'pickle')
    await expect(scanRunFolder(run)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('should stop when its signal fires', async () => {
    await checkpoint(10)
    await expect(scanRunFolder(run, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
  })

  it('should not read again what has not changed, and read again what has', async () => {
    await checkpoint(10)
    const folder = await checkpoint(20)
    const first = await scanRunFolder(run)
    const second = await scanRunFolder(run, { previous: first })
    expect(second.checkpoints[0]).toBe(first.checkpoints[0])
    expect(second.logHistory).toEqual(first.logHistory)
    // A resumed run writes the same step again.
    await writeFile(join(folder, 'adapter_model.safetensors'), tensors(77))
    await writeFile(join(folder, 'trainer_state.json'), JSON.stringify({ ...state(20), epoch: 9 }))
    const third = await scanRunFolder(run, { previous: second })
    expect(third.checkpoints[0]).toBe(first.checkpoints[0])
    expect(third.checkpoints[1]).toMatchObject({ state: 'complete', epoch: 9 })
  })

  it('should drop checkpoints that were rotated away since an earlier scan', async () => {
    const gone = await checkpoint(10)
    await checkpoint(20)
    const first = await scanRunFolder(run)
    await rm(gone, { recursive: true })
    expect((await scanRunFolder(run, { previous: first })).checkpoints.map(({ step }) => step)).toEqual([20])
  })

  it('should report a folder that disappears during the scan', async () => {
    await checkpoint(10)
    // Listed, and gone when it is opened.
    await symlink(join(run, 'rotated-away'), join(run, 'checkpoint-20'))
    const scan = await scanRunFolder(run)
    expect(scan.checkpoints.map(({ step }) => step)).toEqual([10])
    expect(scan.vanished).toEqual([join(run, 'checkpoint-20')])
  })

  it('should change nothing in the run, not even a time', async () => {
    await checkpoint(10)
    await mkdir(join(run, 'checkpoint-20'))
    await adapter(run, 10)
    const times = async () => {
      const names = await readdir(run, { recursive: true })
      return Promise.all(
        ['.', ...names.sort()].map(async (name) => [name, (await stat(join(run, name))).mtimeMs]),
      )
    }
    const before = await times()
    await scanRunFolder(run)
    expect(await times()).toEqual(before)
  })

  // What a second look costs must not grow with the run: checkpoints that have not changed are not read again.
  it('should keep what it knows of 300 checkpoints when it looks again', async () => {
    for (let step = 5; step <= 1500; step += 5) await checkpoint(step)
    await adapter(run, 1500)
    const scan = await scanRunFolder(run)
    expect(scan.checkpoints).toHaveLength(300)
    expect(scan.final?.aliasOf).toBe(1500)
    const again = await scanRunFolder(run, { previous: scan })
    expect(again.checkpoints.every((one, i) => one === scan.checkpoints[i])).toBe(true)
  })
})

describe('readCheckpointFolder', () => {
  const broken: [string, (folder: string) => Promise<unknown>, RegExp][] = [
    ['the trainer state is missing', (f) => rm(join(f, 'trainer_state.json')), /no trainer_state\.json yet/],
    [
      'the trainer state is cut',
      (f) => writeFile(join(f, 'trainer_state.json'), '{"global_step": 1'),
      /does not parse yet/,
    ],
    ['the trainer state is empty', (f) => writeFile(join(f, 'trainer_state.json'), ''), /does not parse yet/],
    [
      'the trainer state is a list',
      (f) => writeFile(join(f, 'trainer_state.json'), '[]'),
      /does not parse yet/,
    ],
    [
      'the state names another step',
      (f) => writeFile(join(f, 'trainer_state.json'), '{"global_step": 9}'),
      /step 10, found 9/,
    ],
    ['the state names no step', (f) => writeFile(join(f, 'trainer_state.json'), '{}'), /step 10, found none/],
    [
      'the configuration is missing',
      (f) => rm(join(f, 'adapter_config.json')),
      /expected adapter_config\.json/,
    ],
    [
      'the tensors are missing',
      (f) => rm(join(f, 'adapter_model.safetensors')),
      /expected adapter_model\.safetensors/,
    ],
    [
      'the tensors are cut',
      (f) => writeFile(join(f, 'adapter_model.safetensors'), tensors(10).subarray(0, -1)),
      /cut short/,
    ],
    ['the tensors are empty', (f) => writeFile(join(f, 'adapter_model.safetensors'), ''), /cut short/],
  ]
  const lasting: [what: string, damage: (folder: string) => Promise<unknown>, reason: RegExp][] = [
    ['the configuration is cut', (f) => writeFile(join(f, 'adapter_config.json'), '{"r":'), /not valid JSON/],
    [
      'the tensors are junk',
      (f) => writeFile(join(f, 'adapter_model.safetensors'), 'x'.repeat(99)),
      /not a valid safetensors/,
    ],
    [
      'there is only a pickle',
      async (f) => {
        await rm(join(f, 'adapter_model.safetensors'))
        await writeFile(join(f, 'adapter_model.bin'), '')
      },
      /pickle/,
    ],
  ]
  it.each(broken)('should be incomplete when %s', async (_, damage, reason) => {
    const folder = await checkpoint(10)
    await damage(folder)
    const { checkpoint: found } = await readCheckpointFolder({ path: folder, step: 10 })
    expect(found).toMatchObject({ state: 'incomplete', reason: expect.stringMatching(reason) })
  })

  it.each(lasting)(
    'should be waited for no longer than the trainer writes when %s',
    async (_, damage, reason) => {
      const folder = await checkpoint(10)
      const state = join(folder, 'trainer_state.json')
      const written = await readFile(state)
      await rm(state)
      await damage(folder)
      const read = async () => (await readCheckpointFolder({ path: folder, step: 10 })).checkpoint
      expect(await read()).toMatchObject({ state: 'incomplete', reason: expect.stringMatching(reason) })
      await writeFile(state, written)
      expect(await read()).toMatchObject({
        state: 'complete',
        fault: { message: expect.stringMatching(reason) },
      })
    },
  )

  it('should become complete once the trainer has finished', async () => {
    const folder = join(run, 'checkpoint-10')
    await mkdir(folder)
    const seen: Checkpoint['state'][] = []
    const read = async () =>
      seen.push((await readCheckpointFolder({ path: folder, step: 10 })).checkpoint.state)
    await read()
    await writeFile(join(folder, 'adapter_model.safetensors'), tensors(1))
    await read()
    await writeFile(join(folder, 'adapter_config.json'), CONFIG)
    await read()
    await writeFile(join(folder, 'trainer_state.json'), JSON.stringify(state(10)))
    await read()
    expect(seen).toEqual(['incomplete', 'incomplete', 'incomplete', 'complete'])
  })

  it('should report a loss of NaN as NaN', async () => {
    const text =
      '{"global_step": 10, "log_history": [{"step": 5, "loss": 2.5}, {"step": 10, "loss": NaN, "grad_norm": Infinity}]}'
    const folder = await checkpoint(10, { state: text })
    const { checkpoint: found, log } = await readCheckpointFolder({ path: folder, step: 10 })
    expect(found).toMatchObject({ state: 'complete', loss: Number.NaN })
    expect(log?.at(-1)).toEqual({ step: 10, loss: Number.NaN, gradNorm: Number.POSITIVE_INFINITY })
  })

  it('should say that a folder has vanished', async () => {
    await expect(readCheckpointFolder({ path: join(run, 'checkpoint-10'), step: 10 })).rejects.toMatchObject({
      code: 'FILE_VANISHED',
    })
  })

  it('should read the layout of LLaMA-Factory v1', async () => {
    const folder = join(run, 'checkpoint-10')
    await adapter(join(folder, 'model'), 1)
    expect((await readCheckpointFolder({ path: folder, step: 10 })).checkpoint.state).toBe('incomplete')
    await writeFile(join(folder, 'CHECKPOINT_COMPLETE'), '')
    expect((await readCheckpointFolder({ path: folder, step: 10 })).checkpoint).toMatchObject({
      state: 'complete',
      path: join(folder, 'model'),
    })
  })

  it('should find an adapter that was saved under a name of its own', async () => {
    const folder = await checkpoint(10)
    for (const name of ['adapter_config.json', 'adapter_model.safetensors']) {
      await cp(join(folder, name), join(folder, 'adapter_one', name))
      await rm(join(folder, name))
    }
    expect((await readCheckpointFolder({ path: folder, step: 10 })).checkpoint).toMatchObject({
      state: 'complete',
      path: join(folder, 'adapter_one'),
    })
  })
})

describe('checkpointStep', () => {
  it.each([
    ['checkpoint-10', 10],
    ['checkpoint-0', undefined],
    ['epoch_0', 1],
    ['epoch_2', 3],
    ['step_2', 2],
    ['global_step_30', 30],
    ['global_step30', undefined],
    ['epoch_1_step_40', 40],
    ['epoch_0_step_0', undefined],
    ['0000100_adapters.safetensors', 100],
    ['checkpoint-010', 10],
    ['tmp-checkpoint-10', undefined],
    ['checkpoint-10-final', undefined],
    ['checkpoint--1', undefined],
    ['checkpoint-1e3', undefined],
    [`checkpoint-${'9'.repeat(40)}`, undefined],
    ['Checkpoint-10', undefined],
  ])('should read %s as %s', (name, step) => {
    expect(checkpointStep(name)).toBe(step)
  })
})

describe('parseTrainerState', () => {
  it('should join the entries of one step and skip what is not a log entry', () => {
    const { logHistory } = parseTrainerState({
      log_history: [
        { step: 10, loss: 0.5, grad_norm: 1, epoch: 0.1 },
        { step: 10, eval_loss: 0.7, epoch: 0.1 },
        { step: 5, loss: 1 },
        { step: -5, loss: 1 },
        { step: 'x' },
        null,
        7,
      ],
    })
    expect(logHistory).toEqual([
      { step: 5, loss: 1 },
      { step: 10, loss: 0.5, gradNorm: 1, evalLoss: 0.7, epoch: 0.1 },
    ])
  })

  it('should treat every field as optional', () => {
    expect(parseTrainerState({ global_step: '7', epoch: null, log_history: {} })).toEqual({ logHistory: [] })
  })

  it.each([
    [4, undefined],
    [5, 1],
    [9, 1],
    [10, 0.5],
    [99, 0.5],
  ])('should know the loss at step %i as %s', (step, loss) => {
    const log = [{ step: 5, loss: 1 }, { step: 8, evalLoss: 3 }, { step: 10, loss: 0.5 }, { step: 20 }]
    expect(lossAt(log, step)).toBe(loss)
  })
})

describe('readTrainerState', () => {
  it('should read the state that transformers wrote', async () => {
    const path = join(packageRoot, 'test/fixtures/tiny/run/checkpoint-60/trainer_state.json')
    const parsed = parseTrainerState(JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>)
    expect(parsed).toMatchObject({ globalStep: 60, epoch: 2 })
    expect(parsed.logHistory.length).toBeGreaterThan(5)
  })
})
