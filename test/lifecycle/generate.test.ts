import { describe, expect, it } from 'vitest'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { Generation } from '../../lib/model/generation.js'
import { openModel } from '../../lib/model/model.js'
import { TINY_BASE } from '../helpers/tiny.js'

const prompts = (n: number) =>
  Array.from({ length: n }, (_, p) => Int32Array.of(1, 2 + (p % 900), 3 + (p % 7)))
const long = { maxTokens: 200, ignoreEos: true }
const short = { maxTokens: 3, ignoreEos: true }

describe('a generation', () => {
  it('should be waited for by close(), and refused after it', async () => {
    const model = await openModel(TINY_BASE)
    const order: string[] = []
    const first = model.generate(prompts(20), long).then(() => order.push('first'))
    const second = model.score(prompts(2), [[Int32Array.of(5)], []]).then(() => order.push('second'))
    await model.close().then(() => order.push('closed'))
    await Promise.all([first, second])
    expect(order).toEqual(['first', 'second', 'closed'])
    for (const call of [model.generate(prompts(1)), model.score(prompts(1), [[Int32Array.of(5)]])]) {
      await expect(call).rejects.toMatchObject({ code: 'MODEL_CLOSED' })
    }
    await expect(model.detokenize([Int32Array.of(5)])).rejects.toMatchObject({ code: 'MODEL_CLOSED' })
  })

  it('should stop in the middle, soon, and leave the model usable', async () => {
    await using model = await openModel(TINY_BASE)
    const controller = new AbortController()
    const reason = new Error('enough')
    const finished: Generation[] = []
    let seen = 0
    const run = model.generate(prompts(4000), {
      ...long,
      sequences: 20,
      signal: controller.signal,
      onGeneration: (generation) => finished.push(generation),
      onTokens: ({ length }) => {
        seen += length
        controller.abort(reason)
      },
    })
    await expect(run).rejects.toMatchObject({ code: 'ABORTED', cause: reason })
    expect(seen).toBeGreaterThan(0)
    expect(seen).toBeLessThan(400_000)
    // Those that had not ended are told of too, for what they are.
    expect(finished.length).toBeGreaterThan(0)
    expect(finished.some(({ finish }) => finish === 'aborted')).toBe(true)
    const after = await model.generate(prompts(3), short)
    await using fresh = await openModel(TINY_BASE)
    expect((await fresh.generate(prompts(3), short)).generations).toEqual(after.generations)
  })

  it('should resolve with what there is when that was asked for', async () => {
    await using model = await openModel(TINY_BASE)
    const controller = new AbortController()
    const { generations } = await model.generate(prompts(600), {
      ...long,
      sequences: 20,
      partial: true,
      signal: controller.signal,
      onGeneration: () => controller.abort(),
    })
    const ways = generations.flat().map(({ finish }) => finish)
    expect(new Set(ways)).toEqual(new Set(['length', 'aborted']))
    for (const { finish, tokens } of generations.flat()) {
      if (finish === 'length') expect(tokens).toHaveLength(200)
      else expect(tokens.length).toBeLessThan(200)
    }
  })

  it('should not start when the signal has fired, nor leave the queue late', async () => {
    await using model = await openModel(TINY_BASE)
    const signal = AbortSignal.abort()
    await expect(model.generate(prompts(1), { signal })).rejects.toMatchObject({ code: 'ABORTED' })
    const order: string[] = []
    const controller = new AbortController()
    const first = model.generate(prompts(20), long).then(() => order.push('first'))
    const second = model
      .generate(prompts(1), { ...short, signal: controller.signal })
      .catch((error) => order.push(error.code))
    const third = hiddenStates(model, prompts(1), { layers: [0] }).then(() => order.push('third'))
    setTimeout(() => controller.abort(), 1)
    await Promise.all([first, second, third])
    expect(order).toEqual(['ABORTED', 'first', 'third'])
  })

  it.each(['onTokens', 'onGeneration', 'onProgress'])('should give back what %s throws', async (callback) => {
    await using model = await openModel(TINY_BASE)
    const thrown = new RangeError('mine')
    const throwing = () => {
      throw thrown
    }
    await expect(model.generate(prompts(60), { ...long, sequences: 20, [callback]: throwing })).rejects.toBe(
      thrown,
    )
    expect((await model.generate(prompts(1), short)).generations[0]![0]!.tokens).toHaveLength(3)
  })

  it('should tell of every token in order, of every sequence, and of the pace', async () => {
    await using model = await openModel(TINY_BASE)
    const tokens: number[][] = prompts(50).map(() => [])
    const ended: Generation[] = []
    const progress: { tokens: number; finished: number; sequences: number; tokensPerSecond: number }[] = []
    let planned = 0
    const {
      generations,
      memory,
      tokens: count,
    } = await model.generate(prompts(50), {
      ...long,
      sequences: 20,
      onTokens: (some) => {
        for (const { prompt, token } of some) tokens[prompt]!.push(token)
      },
      onGeneration: (generation) => ended.push(generation),
      onProgress: (now) => progress.push(now),
      onPlan: ({ bytes }) => {
        planned = bytes
      },
    })
    expect(tokens).toEqual(generations.map(([generation]) => [...generation!.tokens]))
    expect(ended.toSorted((a, b) => a.prompt - b.prompt)).toEqual(generations.flat())
    expect(progress.at(-1)).toMatchObject({ tokens: 50 * 200, finished: 50, sequences: 50 })
    expect(progress.at(-1)!.tokensPerSecond).toBeGreaterThan(0)
    expect(progress.length).toBeGreaterThan(1)
    expect(count).toMatchObject({ prompt: 150, generated: 10_000 })
    expect(memory).toMatchObject({ sequences: 20, cells: 256, bytes: planned })
  })

  it('should let extraction and generation take turns without a trace', async () => {
    await using model = await openModel(TINY_BASE)
    const states = async () => (await hiddenStates(model, prompts(3), { layers: [0, 3] })).data
    const before = await states()
    const generated = await model.generate(prompts(3), short)
    expect(await states()).toEqual(before)
    expect((await model.generate(prompts(3), short)).generations).toEqual(generated.generations)
  })
})
