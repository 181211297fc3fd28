import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { GenerateOptions, Generation } from '../../lib/model/generation.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { chatTokens } from '../../lib/prompts/prompt-tokens.js'
import { TINY_BASE, TINY_RUN, writeTinyWithContext } from '../helpers/tiny.js'

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

  it('should draw the same numbers for a prompt with and without a control', async () => {
    const [prompt] = prompts as [Int32Array]
    const options = { maxTokens: 20, temperature: 1, seed: 3 }
    const nothing = new Map([[1, new Float32Array(64)]])
    const { generations } = await model.generate([prompt, prompt], {
      ...options,
      control: [undefined, nothing],
    })
    expect(generations[1]![0]!.tokens).toEqual(generations[0]![0]!.tokens)
    const twice = await model.generate([prompt, prompt], options)
    expect(twice.generations[1]![0]!.tokens).not.toEqual(twice.generations[0]![0]!.tokens)
  })

  it('should score what it generated as it chose it', async () => {
    const { generations } = await model.generate(prompts, { maxTokens: 20, logprobs: { top: 2, of: [5] } })
    const finished: number[] = []
    const { logprobs } = await model.score(
      prompts,
      generations.map(([{ tokens } = { tokens: new Int32Array() }]) => [tokens, tokens.subarray(0, 3)]),
      { onProgress: (progress) => finished.push(progress.finished) },
    )
    expect(finished.at(-1)).toBe(2 * prompts.length)
    expect(finished).toEqual(finished.toSorted((a, b) => a - b))
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

describe('a sequence', () => {
  it('should end with a stop token, a stop text, or the length', async () => {
    const [[plain]] = (await model.generate(prompts.slice(0, 1), { maxTokens: 20, ignoreEos: true }))
      .generations as [[Generation]]
    expect(plain).toMatchObject({ finish: 'length', prompt: 0, draw: 0 })
    const stopTokens = [plain.tokens[4]!]
    const [[token]] = (await model.generate(prompts.slice(0, 1), { maxTokens: 20, stopTokens }))
      .generations as [[Generation]]
    expect(token).toMatchObject({ finish: 'stop', tokens: plain.tokens.slice(0, 5) })
    const stop = [plain.text.slice(9, 14)]
    const [[text]] = (await model.generate(prompts.slice(0, 1), { maxTokens: 20, stop })).generations as [
      [Generation],
    ]
    expect(text).toMatchObject({ finish: 'stop', text: plain.text.slice(0, 9) })
  })

  it('should end where the context of the model ends, and say so', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-'))
    try {
      const path = join(folder, 'short.gguf')
      await writeTinyWithContext(path, 32)
      await using short = await openModel(path)
      const given = [Int32Array.from({ length: 20 }, (_, i) => i + 1), Int32Array.of(1)]
      const { generations } = await short.generate(given, { maxTokens: 14, ignoreEos: true })
      expect(generations.map(([each]) => [each!.finish, each!.tokens.length])).toEqual([
        ['context', 12],
        ['length', 14],
      ])
      const full = Int32Array.from({ length: 32 }, (_, i) => i + 1)
      await expect(short.generate([full])).rejects.toMatchObject({ code: 'PROMPT_TOO_LONG' })
      await expect(short.score([full], [[Int32Array.of(1)]])).rejects.toMatchObject({
        code: 'PROMPT_TOO_LONG',
      })
      expect((await short.score([full.subarray(1)], [[Int32Array.of(1)]])).logprobs[0]![0]).toHaveLength(1)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('what cannot be generated', () => {
  const bad: [string, GenerateOptions, string][] = [
    ['no tokens', { maxTokens: 0 }, 'USAGE'],
    ['half a token', { maxTokens: 1.5 }, 'USAGE'],
    ['a negative temperature', { temperature: -1 }, 'USAGE'],
    ['a temperature that is no number', { temperature: Number.NaN }, 'USAGE'],
    ['top-p of 0', { topP: 0 }, 'USAGE'],
    ['top-p above 1', { topP: 1.1 }, 'USAGE'],
    ['a negative top-k', { topK: -1 }, 'USAGE'],
    ['min-p above 1', { minP: 2 }, 'USAGE'],
    ['half a seed', { seed: 0.5 }, 'USAGE'],
    ['greedy draws', { draws: 2 }, 'USAGE'],
    ['no sequences at once', { sequences: 0 }, 'USAGE'],
    ['more sequences at once than there are ids', { sequences: 257 }, 'USAGE'],
    ['an empty stop text', { stop: [''] }, 'USAGE'],
    ['a foreign stop token', { stopTokens: [5000] }, 'USAGE'],
    ['a foreign layer', { layers: [4] }, 'USAGE'],
    ['log-probabilities of foreign tokens', { logprobs: { of: [-1] } }, 'USAGE'],
    ['log-probabilities at no token', { logprobs: { positions: 0 } }, 'USAGE'],
    ['a control on a foreign layer', { control: new Map([[9, new Float32Array(64)]]) }, 'USAGE'],
    ['a control of another width', { control: new Map([[1, new Float32Array(63)]]) }, 'SHAPE'],
    [
      'a control that is not finite',
      { control: new Map([[1, new Float32Array(64).fill(Infinity)]]) },
      'SHAPE',
    ],
    ['controls for fewer prompts', { control: [undefined] }, 'USAGE'],
  ]
  it.each(bad)('should be refused: %s', async (_, options, code) => {
    await expect(model.generate(prompts, options)).rejects.toMatchObject({ name: 'TraitscopeError', code })
  })

  it('should be refused: no prompts, empty ones, foreign tokens', async () => {
    for (const wrong of [[], [new Int32Array()], [Int32Array.of(1024)], [Int32Array.of(-1)]]) {
      await expect(model.generate(wrong)).rejects.toMatchObject({ code: 'USAGE' })
    }
    const [prompt] = prompts as [Int32Array]
    await expect(model.score([prompt], [])).rejects.toMatchObject({ code: 'USAGE' })
    await expect(model.score([prompt], [[new Int32Array()]])).rejects.toMatchObject({ code: 'USAGE' })
    await expect(model.score([prompt], [[Int32Array.of(5000)]])).rejects.toMatchObject({ code: 'USAGE' })
    await expect(model.score([prompt], [[]])).rejects.toMatchObject({ code: 'USAGE' })
  })
})
