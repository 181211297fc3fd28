import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type GgufInput, readGguf } from '../../lib/formats/gguf/gguf.js'
import { storedMetadata, tensorBytes, writeGgufStream } from '../../lib/formats/gguf/gguf-stream.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { planPrompts } from '../../lib/prompts/plan.js'
import { TINY_BASE, TINY_RUN } from '../helpers/tiny.js'

/** Seconds of work for the tiny model: prompts that share nothing. */
const long = (n: number) =>
  Array.from({ length: n }, (_, p) =>
    Int32Array.from({ length: 64 }, (_, i) => (p * 131 + i * 17 + 3) % 1000),
  )
const short = [Int32Array.of(5, 6, 7)]

describe('close', () => {
  it('should wait for work in flight and work that is queued', async () => {
    const model = await openModel(TINY_BASE)
    const order: string[] = []
    const first = hiddenStates(model, long(100), { layers: [3] }).then(() => order.push('first'))
    const second = hiddenStates(model, short, { layers: [0] }).then(() => order.push('second'))
    await model.close().then(() => order.push('closed'))
    await Promise.all([first, second])
    expect(order).toEqual(['first', 'second', 'closed'])
  })

  it('should be idempotent and make later calls reject with MODEL_CLOSED', async () => {
    const model = await openModel(TINY_BASE)
    const adapter = await model.attach(`${TINY_RUN}/checkpoint-10`)
    await Promise.all([model.close(), model.close()])
    await model.close()
    await expect(hiddenStates(model, short, { layers: [0] })).rejects.toMatchObject({ code: 'MODEL_CLOSED' })
    await expect(model.tokenize(['a'])).rejects.toMatchObject({ code: 'MODEL_CLOSED' })
    await expect(model.attach(`${TINY_RUN}/checkpoint-10`)).rejects.toMatchObject({ code: 'MODEL_CLOSED' })
    await adapter.detach() // the model took its memory with it; nothing is left to do
  })

  it('should refuse an adapter that was detached, or that belongs to another model', async () => {
    await using model = await openModel(TINY_BASE)
    await using other = await openModel(TINY_BASE)
    const adapter = await model.attach(`${TINY_RUN}/checkpoint-10`)
    await expect(hiddenStates(other, short, { layers: [0], adapter })).rejects.toMatchObject({
      code: 'USAGE',
    })
    await adapter.detach()
    await expect(hiddenStates(model, short, { layers: [0], adapter })).rejects.toMatchObject({
      code: 'USAGE',
    })
  })
})

describe('AbortSignal', () => {
  it('should stop a pass before it starts, and leave the model usable', async () => {
    await using model = await openModel(TINY_BASE)
    const reason = new Error('enough')
    await expect(
      hiddenStates(model, short, { layers: [0], signal: AbortSignal.abort(reason) }),
    ).rejects.toMatchObject({ code: 'ABORTED', cause: reason })
    expect((await hiddenStates(model, short, { layers: [0] })).data).toHaveLength(64)
  })

  it('should stop a pass in the middle, soon', async () => {
    await using model = await openModel(TINY_BASE)
    const controller = new AbortController()
    let fraction = 0
    const pass = hiddenStates(model, long(4000), {
      layers: [3],
      signal: controller.signal,
      onProgress: (done) => {
        fraction = done
        controller.abort()
      },
    })
    await expect(pass).rejects.toMatchObject({ code: 'ABORTED' })
    expect(fraction).toBeLessThan(0.5)
    const before = await hiddenStates(model, short, { layers: [3] })
    await using fresh = await openModel(TINY_BASE)
    expect((await hiddenStates(fresh, short, { layers: [3] })).data).toEqual(before.data)
  })

  // What another process computes (npm run test:device) takes no CPU time in this one: there is nothing to compare.
  it.skipIf(process.env.TRAITSCOPE_TEST_RPC !== undefined)('should stop inside a single decode', async () => {
    // One batch takes seconds: between decodes there would be no chance to stop.
    await using model = await openModel(TINY_BASE, { batchTokens: 4096, threads: 1 })
    // In CPU time of one thread, which other programs do not stretch: several would spin while they wait for each other.
    const timed = async (signal?: AbortSignal, onTick?: (seconds: number) => void) => {
      const started = process.cpuUsage()
      const seconds = () => process.cpuUsage(started).user / 1e6
      const timer = setInterval(() => onTick?.(seconds()), 2)
      // Means need the whole batch in memory, so it is decoded at once.
      const outcome = await hiddenStates(model, long(24), { layers: [3], pool: 'mean', signal }).catch(
        (error) => error.code,
      )
      clearInterval(timer)
      return { outcome, seconds: seconds() }
    }
    await timed() // the first pass also makes the context
    const whole = await timed()
    const controller = new AbortController()
    const stopped = await timed(controller.signal, (seconds) => {
      if (seconds > whole.seconds / 10) controller.abort()
    })
    expect(stopped.outcome).toBe('ABORTED')
    expect(stopped.seconds).toBeLessThan(0.7 * whole.seconds)
  })

  it('should take a pass out of the queue at once', async () => {
    await using model = await openModel(TINY_BASE)
    const order: string[] = []
    const controller = new AbortController()
    const first = hiddenStates(model, long(1000), { layers: [3] }).then(() => order.push('first'))
    const second = hiddenStates(model, short, { layers: [0], signal: controller.signal }).catch((error) => {
      order.push(error.code)
    })
    const third = hiddenStates(model, short, { layers: [0] }).then(() => order.push('third'))
    const signal = AbortSignal.abort()
    const late = hiddenStates(model, short, { layers: [0], signal }).catch(() => order.push('never queued'))
    setTimeout(() => controller.abort(), 1)
    await Promise.all([first, second, third, late])
    expect(order).toEqual(['never queued', 'ABORTED', 'first', 'third'])
  })

  it('should do nothing after the pass', async () => {
    await using model = await openModel(TINY_BASE)
    const controller = new AbortController()
    const { data } = await hiddenStates(model, short, { layers: [0], signal: controller.signal })
    controller.abort()
    expect(data).toHaveLength(64)
  })

  it('should stop a load', async () => {
    const signal = AbortSignal.abort()
    await expect(openModel(TINY_BASE, { signal })).rejects.toMatchObject({ code: 'ABORTED' })
  })
})

describe('a pass', () => {
  it.each([new RangeError('mine'), Object.assign(new Error('mine'), { code: 'ABORTED' })])(
    'should give back what onProgress throws',
    async (thrown) => {
      await using model = await openModel(TINY_BASE)
      const onProgress = () => {
        throw thrown
      }
      await expect(hiddenStates(model, long(100), { layers: [3], onProgress })).rejects.toBe(thrown)
    },
  )

  it('should refuse what no memory can hold, and what is no plan', async () => {
    await using model = await openModel(TINY_BASE)
    const { batches } = planPrompts(short, { maxTokens: 256, pool: 'last' })
    const plan = { batches, nRows: 1, layers: [0] }
    const huge = model.extract({ ...plan, nRows: 2 ** 31 - 1, layers: [0, 1, 2, 3] })
    await expect(huge).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' })
    for (const wrong of [
      { nRows: -1 },
      { nRows: 2 ** 58 },
      { layers: [] },
      { layers: [1, 0] },
      { threads: 100_000 },
      { splitFrom: -1 },
    ]) {
      await expect(model.extract({ ...plan, ...wrong })).rejects.toMatchObject({ code: 'USAGE' })
    }
    expect((await model.extract(plan)).data).toHaveLength(64)
  })
})

describe('what a call was given', () => {
  it('should be what it was when the call was made, however long it waits for its turn', async () => {
    await using model = await openModel(TINY_BASE)
    const prompts = () => [Int32Array.of(5, 6, 7), Int32Array.of(8, 9)]
    const adapter = await model.attach(`${TINY_RUN}/checkpoint-60`)
    const all = (given = prompts(), texts = ['The tap drips.'], adapters = [adapter]) => {
      const answers = given.map((prompt) => [prompt])
      const options = { maxTokens: 4, adapters }
      const calls = [
        hiddenStates(model, given, { layers: [3], adapter: adapters }).then(({ data }) => data),
        model.generate(given, options).then(({ generations }) => generations),
        model.score(given, answers).then(({ logprobs }) => logprobs),
        model.tokenize(texts),
        model.detokenize(given),
      ]
      return { results: Promise.all(calls), given, texts, adapters, answers, options }
    }
    const untouched = await all().results
    const busy = hiddenStates(model, long(200), { layers: [3] })
    const { results, given, texts, adapters, answers, options } = all()
    for (const prompt of given) prompt.fill(1)
    given.length = 0
    answers.length = 0
    adapters.length = 0
    texts[0] = 'Name one star.'
    options.maxTokens = 1
    expect(await results).toEqual(untouched)
    await busy
  })

  it('should be refused where an adapter is there twice, of which one would be dropped', async () => {
    await using model = await openModel(TINY_BASE)
    const adapter = await model.attach(`${TINY_RUN}/checkpoint-60`)
    const twice = [adapter, adapter.at(2)]
    const refusal = { code: 'USAGE', message: expect.stringContaining('each adapter once') }
    await expect(hiddenStates(model, short, { layers: [3], adapter: twice })).rejects.toMatchObject(refusal)
    await expect(model.generate(short, { adapters: twice })).rejects.toMatchObject(refusal)
    await expect(model.score(short, [short], { adapters: twice })).rejects.toMatchObject(refusal)
  })

  it.each([
    [
      'prompts that are no Int32Arrays',
      (model: Model) => hiddenStates(model, [[5.5, 6]] as never, { layers: [0] }),
    ],
    ['a prompt that is missing', (model: Model) => hiddenStates(model, new Array(1), { layers: [0] })],
    ['an option of another name', (model: Model) => model.generate(short, { max_tokens: 3 } as never)],
    ['a control that is no Map', (model: Model) => model.generate(short, { control: { 1: [] } as never })],
    ['ids that the vocabulary lacks', (model: Model) => model.detokenize([Int32Array.of(1024)])],
    ['a path for a model', () => hiddenStates(TINY_BASE as never, short, { layers: [0] })],
    [
      'an adapter that nobody attached',
      (model: Model) => hiddenStates(model, short, { layers: [0], adapter: 'a' as never }),
    ],
    ['an adapter that nobody read', (model: Model) => model.attach({} as never)],
  ])('should be refused: %s', async (_, call) => {
    await using model = await openModel(TINY_BASE)
    await expect(call(model)).rejects.toMatchObject({ name: 'TraitscopeError', code: 'USAGE' })
  })
})

describe('attach', () => {
  it('should tell the length of the weight change where that is asked for', async () => {
    await using model = await openModel(TINY_BASE)
    const { report } = await model.attach(`${TINY_RUN}/checkpoint-60`, { norms: true })
    const total = Math.hypot(...report.modules.map(({ deltaNorm }) => deltaNorm!))
    expect(report.deltaNorm).toBeGreaterThan(0)
    expect(total / report.deltaNorm!).toBeCloseTo(1, 6)
    expect((await model.attach(`${TINY_RUN}/checkpoint-60`)).report.deltaNorm).toBe(undefined)
  })
})

describe('openModel', () => {
  it('should make a model whose facts nobody changes', async () => {
    await using model = await openModel(TINY_BASE, { layers: [0, 3] })
    for (const facts of [model.info, model.options, model.options.layers, model.placement])
      expect(Object.isFrozen(facts)).toBe(true)
  })

  it('should keep several models apart', async () => {
    await using one = await openModel(TINY_BASE)
    await using two = await openModel(TINY_BASE)
    await using adapter = await one.attach(`${TINY_RUN}/checkpoint-60`)
    const [changed, plain] = await Promise.all([
      hiddenStates(one, long(20), { layers: [3], adapter }),
      hiddenStates(two, long(20), { layers: [3] }),
    ])
    expect(changed.data).not.toEqual(plain.data)
    expect((await hiddenStates(one, long(20), { layers: [3] })).data).toEqual(plain.data)
  })

  it('should describe the model and report progress up to 1', async () => {
    const seen: number[] = []
    await using model = await openModel(TINY_BASE, { onProgress: (fraction) => seen.push(fraction) })
    expect(model.info).toMatchObject({ architecture: 'llama', nLayer: 4, nEmbd: 64, nVocab: 1024 })
    expect(model.bosToken).toEqual({ id: 1019, text: '<|begin_of_text|>' })
    expect(model.chatTemplate).toContain('<|start_header_id|>')
    expect(model.fingerprint).toMatch(/^[0-9a-f]{64}$/)
    expect(seen.at(-1)).toBe(1)
  })

  // Found by fuzzing: ggml ended the process with an assertion.
  it('should read a file whose weights lie where they cannot be mapped', async () => {
    const tiny = await readGguf(TINY_BASE)
    const path = join(await mkdtemp(join(tmpdir(), 'traitscope-')), 'unaligned.gguf')
    const tensors = [...tiny.tensors.values()].map((tensor) => ({
      ...tensor,
      chunks: () => tensorBytes(tiny, tensor, 0, tensor.byteLength),
    }))
    for (const filler of ['', 'eight by', 'sixteen bytes ..', 'twenty-four bytes.......']) {
      const metadata = [
        ...storedMetadata(tiny),
        ['general.alignment', 'u32', 8],
        ['filler', 'string', filler],
      ]
      await writeGgufStream(path, metadata as GgufInput['metadata'], tensors, { force: true })
      await using unaligned = await openModel(path)
      await using model = await openModel(TINY_BASE)
      const read = (from: Model) => hiddenStates(from, short, { layers: [0, 3] })
      expect((await read(unaligned)).data).toEqual((await read(model)).data)
    }
    await rm(dirname(path), { recursive: true })
  })

  it.each([
    ['a file that is not there', 'no-such.gguf', {}, 'FILE_NOT_FOUND'],
    ['a file that is no GGUF', `${TINY_RUN}/adapter_config.json`, {}, 'FILE_INVALID'],
    ['a folder', TINY_RUN, {}, 'FILE_INVALID'],
    ['no threads', TINY_BASE, { threads: 0 }, 'USAGE'],
    ['a batch below 256', TINY_BASE, { batchTokens: 100 }, 'USAGE'],
    ['negative GPU layers', TINY_BASE, { gpuLayers: -1 }, 'USAGE'],
  ])('should refuse %s', async (_, path, options, code) => {
    await expect(openModel(path, options)).rejects.toMatchObject({ name: 'TraitscopeError', code })
  })
})
