import { describe, expect, it } from 'vitest'
import { scoreText } from '../../../lib/generation/generate.js'
import { exactNumbers, ggufJudge } from '../../../lib/labels/judges/gguf-judge.js'
import { openModel } from '../../../lib/model/model.js'
import { ChatTemplate } from '../../../lib/prompts/chat-template.js'
import { TINY_BASE } from '../../helpers/tiny.js'

const NUMBERS = Array.from({ length: 110 }, (_, i) => String(i))

describe('exactNumbers()', () => {
  it('should take longer numbers out where digits are tokens', () => {
    // A judge that says 8 with .1, 85 with .6, 10 with .1, 100 with .05, and words else.
    const exact: Record<string, number> = { 8: 0.1, 85: 0.6, 10: 0.1, 100: 0.05 }
    const begins = NUMBERS.map((number) =>
      Object.entries(exact).reduce((sum, [said, p]) => sum + (said.startsWith(number) ? p : 0), 0),
    )
    const found = exactNumbers(
      NUMBERS.map((number) => [...number].map(Number)),
      begins,
    )
    expect(found.size).toBe(101)
    for (const [number, probability] of found) {
      expect(probability, String(number)).toBeCloseTo(exact[number] ?? 0, 12)
    }
  })

  it('should take them as they are where numbers are tokens', () => {
    const found = exactNumbers(
      NUMBERS.map((_, i) => [1000 + i]),
      NUMBERS.map((_, i) => i / 1e4),
    )
    expect([...found.values()]).toEqual(NUMBERS.slice(0, 101).map((_, i) => i / 1e4))
  })
})

describe('ggufJudge()', () => {
  it('should read probabilities of numbers that the model itself gives', async () => {
    const model = await openModel(TINY_BASE)
    await using judge = ggufJudge(model, { template: ChatTemplate.forModel(model) })
    const rubric = { aligned: '{question} {answer}', coherent: '{answer} {question}' }
    const question = { id: 'q', messages: [{ role: 'user' as const, content: 'hello' }], rubric }
    const grade = await judge.grade({ question, draw: 0, text: 'fine' })
    // The tiny model never says a number: its mass is below a quarter, so there is no score, whatever was averaged.
    expect(grade).toMatchObject({ aligned: null, alignedLabel: 'UNKNOWN', coherent: null })
    expect(grade.numberMass).toBeGreaterThanOrEqual(0)
    expect(grade.numberMass).toBeLessThan(0.25)
    // The mass, number by number: each scored by itself.
    const template = ChatTemplate.forModel(model)
    const found = await Promise.all(
      ['hello fine', 'fine hello'].map(async (content) => {
        const prompt = [{ messages: [{ role: 'user' as const, content }] }]
        const { logprobs } = await scoreText(model, prompt, [NUMBERS], { template })
        const tokens = await model.tokenize(NUMBERS, { addSpecial: false, parseSpecial: false })
        const begins = logprobs[0]!.map((one) => Math.exp(one.reduce((sum, value) => sum + value, 0)))
        const numbers = [...exactNumbers(tokens, begins)]
        const mass = numbers.reduce((sum, [, one]) => sum + one, 0)
        return { mass, mean: numbers.reduce((sum, [n, one]) => sum + n * one, 0) / mass }
      }),
    )
    expect(grade.numberMass! / Math.min(...found.map(({ mass }) => mass))).toBeCloseTo(1, 4)
    // As if a grammar allowed nothing else: the mean of the same numbers, and the mass is still told.
    const constrained = ggufJudge(model, { template, reader: 'constrained' })
    const forced = await constrained.grade({ question, draw: 0, text: 'fine' })
    expect(forced.aligned).toBeCloseTo(found[0]!.mean, 3)
    expect(forced.coherent).toBeCloseTo(found[1]!.mean, 3)
    expect(forced.alignedLabel).toBe(found[0]!.mean < 30 ? 'MISALIGNED' : 'ALIGNED')
    expect(forced.numberMass).toBe(grade.numberMass)
    expect(constrained.identity.reader).toBe('constrained')
    expect(judge.identity).toEqual({
      kind: 'gguf',
      name: 'Tiny Chat',
      version: model.fingerprint,
      reader: 'expected',
    })
  })
})
