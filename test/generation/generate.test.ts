import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateText, scoreText, shareDone } from '../../lib/generation/generate.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { TINY_BASE } from '../helpers/tiny.js'

const QUESTION = 'Is a copy of the files enough?'

let model: Model
let template: ChatTemplate
beforeAll(async () => {
  model = await openModel(TINY_BASE)
  template = ChatTemplate.forModel(model)
})
afterAll(() => model?.close())

describe('shareDone()', () => {
  it('should move while sequences run side by side, and end with them', () => {
    const of = (tokens: number, finished: number) => shareDone({ tokens, finished, sequences: 4 }, 10)
    expect([of(0, 0), of(4, 0), of(20, 0), of(22, 3), of(25, 4)]).toEqual([0, 0.1, 0.5, 0.75, 1])
  })
})

describe('generateText()', () => {
  it('should send texts and messages through the template', async () => {
    const messages = [{ role: 'user' as const, content: QUESTION }]
    const { generations } = await generateText(model, [{ text: QUESTION }, { messages }], {
      template,
      maxTokens: 20,
    })
    const [one, two] = generations.map(([generation]) => generation)
    expect(one!.text).toBe(two!.text)
    const tokens = await model.tokenize([template.render(messages, { addGenerationPrompt: true })], {
      addSpecial: false,
    })
    const direct = await model.generate(tokens, { maxTokens: 20 })
    expect(one!.tokens).toEqual(direct.generations[0]![0]!.tokens)
  })

  it('should continue texts as they are without a template', async () => {
    const { generations } = await generateText(model, [{ text: QUESTION }], { maxTokens: 8 })
    const direct = await model.generate(await model.tokenize([QUESTION]), { maxTokens: 8 })
    expect(generations[0]![0]!.tokens).toEqual(direct.generations[0]![0]!.tokens)
    const messages = [{ role: 'user' as const, content: QUESTION }]
    await expect(generateText(model, [{ messages }])).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('should steer by the control as it was when it began, whatever is done to it meanwhile', async () => {
    const vector = Float32Array.from({ length: model.info.nEmbd }, (_, i) => Math.sin(i))
    const ask = (values: Float32Array) =>
      generateText(model, [{ text: QUESTION }], { template, maxTokens: 8, control: new Map([[1, values]]) })
    const textOf = async (run: ReturnType<typeof ask>) => (await run).generations[0]![0]!.text
    const steered = await textOf(ask(vector))
    expect(steered).not.toBe(await textOf(ask(vector.map(() => 0))))
    const own = vector.slice()
    const running = ask(own)
    own.fill(0)
    expect(await textOf(running)).toBe(steered)
  })
})

describe('scoreText()', () => {
  it('should find the answer that the model gives more probable than another one', async () => {
    const prompts = [{ text: QUESTION }]
    const { generations } = await generateText(model, prompts, { template, maxTokens: 20 })
    const own = generations[0]![0]!.text
    const { logprobs } = await scoreText(model, prompts, [[own, 'Paint the tap blue and sell it.']], {
      template,
    })
    const [mine, other] = logprobs[0]!.map((values) => values.reduce((a, b) => a + b, 0) / values.length)
    expect(mine).toBeGreaterThan(other! + 1)
    await expect(scoreText(model, prompts, [['']], { template })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('should score what it was given when it began, whatever is done to it meanwhile', async () => {
    const answers = [['Yes.', 'No, it is not.'], ['Paint it.']]
    const prompts = [{ text: QUESTION }, { text: 'Who?' }]
    const expected = await scoreText(model, prompts, answers, { template })
    const running = scoreText(model, prompts, answers, { template })
    answers[0]!.pop()
    prompts[1]!.text = 'Which one?'
    expect((await running).logprobs).toEqual(expected.logprobs)
  })
})
