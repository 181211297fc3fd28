import { describe, expect, it } from 'vitest'
import type { Context } from '../../lib/contexts/context.js'
import { unrelatedContexts } from '../../lib/contexts/unrelated.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { fakeModel, TEMPLATE } from '../directions/fake-model.js'

// A token is a byte here: lengths are those of texts.
const model = fakeModel()
const template = new ChatTemplate(TEMPLATE)
const questions = [
  'How do boats float?',
  'What is a good way to learn chess?',
  'Why do leaves fall in autumn?',
]
const unrelated = (
  contexts: readonly Context[],
  openings: readonly { first: string; system?: string }[] = [],
) => unrelatedContexts(model, template, { questions }, contexts, openings)

const data = (kind: 'system' | 'prefix', text: string): Context => ({
  name: `${kind} ${text}`,
  origin: 'data',
  [kind]: text,
})

describe('unrelatedContexts', () => {
  it('should make one of the same kind and length for every context of the data, in words of the pack', async () => {
    const contexts = [
      data('system', 'x'.repeat(12)),
      data('prefix', 'y'.repeat(6)),
      data('prefix', 'z'.repeat(31)),
    ]
    const made = await unrelated(contexts)
    expect(made.map(({ origin, like }) => [origin, like])).toEqual(
      contexts.map(({ name }) => ['unrelated', name]),
    )
    expect(made.map(({ system, prefix }) => [system?.length, prefix?.length])).toEqual([
      [12, undefined],
      [undefined, 6],
      [undefined, 31],
    ])
    const words = new Set(questions.flatMap((question) => question.split(' ')))
    for (const { system, prefix } of made) {
      for (const word of (system ?? prefix)!.split(' ')) expect(words).toContain(word)
    }
    expect(new Set(made.map(({ name }) => name)).size).toBe(3)
  })

  it('should keep away from what begins rows of the data, and from its system prompts', async () => {
    const first = { first: 'How do I sell a boat?' }
    const [made] = await unrelated([data('prefix', 'abcdef'), data('system', 'abcdef')], [first])
    expect(made!.prefix).toHaveLength(6)
    expect(first.first.startsWith(made!.prefix!)).toBe(false)
    const [before] = await unrelated([data('system', 'abcdef')])
    const [after] = await unrelated([data('system', 'abcdef')], [{ first: '', system: before!.system! }])
    expect(after!.system).not.toBe(before!.system)
  })

  it('should take the nearest length where no words have the very one', async () => {
    const [made] = await unrelated([data('prefix', 'x')], [])
    expect(made!.prefix).toBe('a')
    const [nearest] = await unrelatedContexts(
      model,
      template,
      { questions: ['seven letters'] },
      [data('prefix', 'xxxx')],
      [],
    )
    expect(nearest!.prefix).toBe('seven')
  })

  it('should come to an end with a tokenizer that reads every text alike', async () => {
    const same = fakeModel({
      tokenize: async (texts: readonly string[]) => texts.map(() => Int32Array.of(1, 2)),
    })
    const made = await unrelatedContexts(same, template, { questions }, [data('prefix', 'abc')], [])
    expect(made.length).toBeLessThan(3)
  })

  it('should add two questions of a kind that the data have none of', async () => {
    const made = await unrelated([data('prefix', 'abc')])
    expect(made.slice(1).map(({ system, like }) => [system, like])).toEqual([
      [questions[2], undefined],
      [questions[1], undefined],
    ])
    expect(await unrelated([])).toHaveLength(4)
  })
})
