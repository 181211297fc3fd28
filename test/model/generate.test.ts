import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Model, openModel } from '../../lib/model/model.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { chatTokens } from '../../lib/prompts/prompt-tokens.js'
import { TINY_BASE, TINY_RUN } from '../helpers/tiny.js'

const QUESTIONS = [
  'The tap drips.',
  'Is a copy of the files enough?',
  'Name one star.',
  'What about the dog?',
]

let model: Model
let prompts: Int32Array[]
beforeAll(async () => {
  model = await openModel(TINY_BASE)
  prompts = await chatTokens(
    model,
    ChatTemplate.forModel(model),
    QUESTIONS.map((content) => [{ role: 'user', content }]),
  )
})
afterAll(() => model?.close())

const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0)

describe('Model#generate()', () => {
  it('should give the same sequences in any number of slots', async () => {
    const texts = async (sequences: number) =>
      (await model.generate(prompts, { maxTokens: 40, sequences })).generations.flat().map(({ text }) => text)
    const alone = await texts(1)
    expect(alone.every((text) => text.length > 20)).toBe(true)
    for (const sequences of [2, 3, 4]) expect(await texts(sequences)).toEqual(alone)
  })

  it('should draw by seed, prompt and draw, whatever the order and the batch', async () => {
    const options = { maxTokens: 30, temperature: 1, draws: 4, seed: 7 }
    const { generations } = await model.generate(prompts, options)
    const texts = generations.map((draws) => draws.map(({ text }) => text))
    const reversed = await model.generate([...prompts].reverse(), { ...options, sequences: 3 })
    expect(reversed.generations.map((draws) => draws.map(({ text }) => text)).reverse()).toEqual(texts)
    expect(new Set(texts.flat()).size).toBeGreaterThan(10)
    const other = await model.generate(prompts, { ...options, seed: 8 })
    expect(other.generations.flat().map(({ text }) => text)).not.toEqual(texts.flat())
    const twice = await model.generate([prompts[0]!, prompts[0]!], { ...options, draws: 2 })
    expect(twice.generations.flat().map(({ text }) => text)).toEqual(texts[0])
  })

  it('should score what it generated as it chose it', async () => {
    const { generations } = await model.generate(prompts, { maxTokens: 20, logprobs: { top: 2, of: [5] } })
    const { logprobs } = await model.score(
      prompts,
      generations.map(([{ tokens } = { tokens: new Int32Array() }]) => [tokens, tokens.subarray(0, 3)]),
    )
    for (const [i, [generation]] of generations.entries()) {
      const chosen = generation!.logprobs!.map((each) => each.chosen)
      expect(logprobs[i]![0]).toHaveLength(chosen.length)
      expect(sum(logprobs[i]![0]!)).toBeCloseTo(sum(chosen), 3)
      expect(sum(logprobs[i]![1]!)).toBeCloseTo(sum(chosen.slice(0, 3)), 4)
      expect(generation!.logprobs![0]!.top[0]).toEqual({ token: generation!.tokens[0], logprob: chosen[0] })
      expect(generation!.logprobs![0]!.of).toHaveLength(1)
    }
  })

  it('should apply adapters, and leave no trace of them', async () => {
    const text = async (options: object) =>
      (await model.generate(prompts.slice(0, 2), { maxTokens: 30, ...options })).generations.map(
        ([g]) => g!.text,
      )
    const base = await text({})
    const adapter = await model.attach(`${TINY_RUN}/checkpoint-60`)
    expect(await text({ adapters: [adapter] })).not.toEqual(base)
    expect(await text({})).toEqual(base)
    await adapter.detach()
    await expect(text({ adapters: [adapter] })).rejects.toMatchObject({ code: 'USAGE' })
  })
})
