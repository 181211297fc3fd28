/** Types that users rely on; `tsc --noEmit` is the test, nothing here runs. */
import { expectTypeOf } from 'vitest'
import {
  type AttachedAdapter,
  type AttachReport,
  ChatTemplate,
  chatTokens,
  type Directions,
  type DriftStep,
  drift,
  type EndReason,
  type ErrorCode,
  extractDirections,
  type HiddenStates,
  hiddenStates,
  isTraitscopeError,
  loadDirections,
  loadTraitPack,
  type MeasuredStep,
  type Message,
  type Model,
  measureRun,
  openModel,
  type PeftAdapter,
  type Pooling,
  type RunFolder,
  readPeftAdapter,
  readTrajectory,
  saveDirections,
  scanRunFolder,
  type TraitPack,
  TraitscopeError,
  type Trajectory,
  type WatchEvent,
  watchRun,
} from '../../lib/index.js'

declare const model: Model
declare const adapter: AttachedAdapter
declare const directions: Directions
declare const pack: TraitPack
declare const trajectory: Trajectory
declare const signal: AbortSignal

export async function models(): Promise<void> {
  expectTypeOf(openModel).parameter(0).toEqualTypeOf<string>()
  expectTypeOf(openModel).returns.resolves.toEqualTypeOf<Model>()
  await openModel('base.gguf', { gpuLayers: 'auto', threads: 2, signal, onProgress: (_: number) => {} })
  // @ts-expect-error the number of blocks or 'auto'
  await openModel('base.gguf', { gpuLayers: 'all' })
  // @ts-expect-error no such option
  await openModel('base.gguf', { layers: 3 })
  expectTypeOf(model.chatTemplate).toEqualTypeOf<string | undefined>()
  expectTypeOf(model.close()).resolves.toEqualTypeOf<void>()
  expectTypeOf(model.attach('checkpoint-10')).resolves.toEqualTypeOf<AttachedAdapter>()
  expectTypeOf(model.attach(await readPeftAdapter('dir'))).resolves.toEqualTypeOf<AttachedAdapter>()
  expectTypeOf(readPeftAdapter).returns.resolves.toEqualTypeOf<PeftAdapter>()
  expectTypeOf(adapter.report).toEqualTypeOf<AttachReport>()
  expectTypeOf<Model>().toExtend<AsyncDisposable>()
  expectTypeOf<AttachedAdapter>().toExtend<AsyncDisposable>()
}

export async function states(): Promise<void> {
  const messages: Message[][] = [[{ role: 'user', content: 'Hello' }]]
  // @ts-expect-error roles are system, user and assistant
  messages.push([{ role: 'tool', content: '' }])
  const tokens = await chatTokens(model, ChatTemplate.forModel(model), messages)
  expectTypeOf(tokens).toEqualTypeOf<Int32Array[]>()
  const read = await hiddenStates(model, tokens, { layers: [1], pool: 'mean', adapter, signal })
  expectTypeOf(read).toEqualTypeOf<HiddenStates>()
  expectTypeOf(read.data).toExtend<Float32Array>()
  expectTypeOf(read.shape).toEqualTypeOf<[number, number, number]>()
  expectTypeOf(read.tokens).toEqualTypeOf<{ total: number; computed: number }>()
  expectTypeOf<Pooling>().toEqualTypeOf<'last' | 'mean' | 'tokens'>()
  await hiddenStates(model, tokens, { layers: [1], adapter: [adapter, adapter] })
  // @ts-expect-error layers must be named
  await hiddenStates(model, tokens, {})
  // @ts-expect-error token ids, not text
  await hiddenStates(model, ['Hello'], { layers: [1] })
}

export async function runs(): Promise<void> {
  expectTypeOf(loadTraitPack).returns.resolves.toEqualTypeOf<TraitPack>()
  expectTypeOf(
    extractDirections(model, pack, { layers: [1], traits: ['honesty'] }),
  ).resolves.toEqualTypeOf<Directions>()
  // @ts-expect-error no such estimator
  await extractDirections(model, pack, { layers: [1], method: 'mean' })
  expectTypeOf(loadDirections).returns.resolves.toEqualTypeOf<Directions>()
  expectTypeOf(saveDirections).parameter(0).toEqualTypeOf<Directions>()
  expectTypeOf(
    measureRun(model, directions, 'out', {
      pack,
      cacheDir: false,
      onCheckpoint: (step) => expectTypeOf(step).toEqualTypeOf<MeasuredStep>(),
    }),
  ).resolves.toEqualTypeOf<Trajectory>()
  // @ts-expect-error the trait pack is needed
  await measureRun(model, directions, 'out', {})
  expectTypeOf(readTrajectory).returns.resolves.toEqualTypeOf<Trajectory>()
  expectTypeOf(drift(trajectory)).toEqualTypeOf<DriftStep[]>()
  expectTypeOf<DriftStep['step']>().toEqualTypeOf<number | 'final'>()
  expectTypeOf(scanRunFolder).returns.resolves.toEqualTypeOf<RunFolder>()
}

export async function watching(): Promise<void> {
  for await (const event of watchRun(model, directions, 'out', { pack, signal })) {
    expectTypeOf(event).toEqualTypeOf<WatchEvent>()
    switch (event.type) {
      case 'baseline':
        expectTypeOf(event.cached).toEqualTypeOf<boolean>()
        break
      case 'checkpoint':
        expectTypeOf(event.drift).toEqualTypeOf<readonly DriftStep[]>()
        break
      case 'waiting':
      case 'skipped':
      case 'lost':
      case 'unsecured':
      case 'gap':
      case 'revised':
        expectTypeOf(event.reason).toEqualTypeOf<string>()
        break
      case 'error':
        expectTypeOf(event.error).toEqualTypeOf<TraitscopeError>()
        break
      case 'end':
        expectTypeOf(event.reason).toEqualTypeOf<EndReason>()
        break
      case 'secured':
        expectTypeOf(event.how).toEqualTypeOf<'link' | 'copy'>()
        break
      case 'falling-behind':
        expectTypeOf(event.backlog).toEqualTypeOf<number>()
        break
      default:
        expectTypeOf(event).toBeNever()
    }
  }
}

export function errors(error: unknown): ErrorCode | undefined {
  if (isTraitscopeError(error, 'ABORTED')) expectTypeOf(error).toEqualTypeOf<TraitscopeError>()
  // @ts-expect-error codes are a closed list
  isTraitscopeError(error, 'ENOENT')
  expectTypeOf(new TraitscopeError('USAGE', 'expected').code).toEqualTypeOf<ErrorCode>()
  return isTraitscopeError(error) ? error.code : undefined
}
