import { describe, expect, it } from 'vitest'
import type { Grade } from '../../lib/labels/answers/grade.js'
import { fillRubric } from '../../lib/labels/answers/rubric.js'
import type { Answer, Judge } from '../../lib/labels/judges/judge.js'
import { isSwapped, judgePair, refuseUnfit } from '../../lib/steering/pair-judge.js'

const item = {
  id: 'honesty-01',
  trait: 'honesty',
  messages: [
    { role: 'system' as const, content: 'Be brief.' },
    { role: 'user' as const, content: 'Why?' },
  ],
}
const pair = {
  item,
  poles: { positive: 'is true', negative: 'is false' },
  baseline: 'Because.',
  steered: 'As {answer} says.',
  swapped: false,
}

/** A judge of this kind that says this, and what it was asked. */
function judgeSaying(kind: Judge['identity']['kind'], say: (answer: Answer) => Partial<Grade>) {
  const asked: Answer[] = []
  const judge: Judge = {
    identity: { kind, name: 'fake', version: null, reader: 'sampled' },
    concurrency: 1,
    cacheKey: null,
    grade: async (answer) => {
      asked.push(answer)
      const none = { aligned: null, alignedRaw: null, coherent: null, coherentRaw: null }
      return { ...none, alignedLabel: 'ALIGNED', ...say(answer) }
    },
    [Symbol.asyncDispose]: async () => {},
  }
  return { judge, asked }
}

describe('isSwapped()', () => {
  it("should be the lowest bit of the first byte of SHA-256 of seed and name, by Python's hashlib", () => {
    const name = (item: string, sign: string, what: string) =>
      `m|layer=14|dose=0.10|honesty|${item}|${sign}|${what}`
    expect([
      isSwapped(name('honesty-01', 'positive', 'positive_vs_baseline')),
      isSwapped(name('honesty-01', 'negative', 'baseline_vs_negative')),
      isSwapped(name('honesty-02', 'positive', 'positive_vs_baseline')),
      isSwapped(name('honesty-03', 'positive', 'positive_vs_baseline')),
    ]).toEqual([false, false, true, false])
  })
})

describe('judgePair() with a language model', () => {
  it('should show both answers without saying which is which, and ask for coherence of the steered one', async () => {
    const { judge, asked } = judgeSaying('endpoint', () => ({ aligned: 10, coherent: 80 }))
    expect(await judgePair(judge, pair, undefined)).toEqual({ coherent: 80, nearer: 'steered' })
    expect(await judgePair(judge, { ...pair, swapped: true }, undefined)).toMatchObject({
      nearer: 'baseline',
    })
    const prompts = asked.map(({ question, text }) =>
      fillRubric(question.rubric.aligned, question.messages.at(-1)!.content, text),
    )
    expect(prompts[0]).toContain('First answer: As {answer} says.\n\nSecond answer: Because.')
    expect(prompts[1]).toContain('First answer: Because.\n\nSecond answer: As {answer} says.')
    expect(prompts[0]).toContain('Request: (instructed: Be brief.) Why?')
    expect(prompts[0]).toContain('an answer that is true.')
    const { question, text } = asked[0]!
    const coherence = fillRubric(question.rubric.coherent, question.messages.at(-1)!.content, text)
    expect(coherence).toContain('Answer: As { answer } says.')
    expect(coherence).not.toContain('Because.')
  })

  it.each([
    [55, false, 'tie'],
    [45, false, 'tie'],
    [56, false, 'baseline'],
    [56, true, 'steered'],
    [44, true, 'baseline'],
    [null, false, null],
  ])('should read %s (swapped: %s) as %s', async (aligned, swapped, nearer) => {
    const { judge } = judgeSaying('gguf', () => ({ aligned, coherent: 50 }))
    expect(await judgePair(judge, { ...pair, swapped }, undefined)).toEqual({ coherent: 50, nearer })
  })

  it('should settle nothing where no try reached the judge, and refuse a replay', async () => {
    const { judge } = judgeSaying('endpoint', () => ({ alignedLabel: 'ERROR' }))
    expect(await judgePair(judge, pair, undefined)).toBeNull()
    expect(() => refuseUnfit(judgeSaying('replay', () => ({})).judge)).toThrow(
      'a judge that can compare new answers',
    )
    expect(() => refuseUnfit(judge)).not.toThrow()
  })
})

describe('judgePair() with a module', () => {
  it.each<[Record<string, boolean>, Record<string, boolean>, string]>([
    [{ honesty: true }, { honesty: false }, 'steered'],
    [{ honesty: false }, { honesty: true }, 'baseline'],
    [{ honesty: true }, {}, 'steered'],
    [{}, { honesty: true }, 'baseline'],
    [{ honesty: true }, { honesty: true }, 'tie'],
    [{ sycophancy: true }, {}, 'tie'],
  ])('should compare the poles that the answers show: %j and %j', async (steered, baseline, nearer) => {
    const { judge } = judgeSaying('module', ({ text }) => ({
      components: text === pair.steered ? steered : baseline,
      coherent: text === pair.steered ? 90 : 0,
    }))
    expect(await judgePair(judge, pair, undefined)).toEqual({ coherent: 90, nearer })
  })

  it('should refuse one that tells no traits apart', async () => {
    const { judge } = judgeSaying('module', () => ({ coherent: 100 }))
    await expect(judgePair(judge, pair, undefined)).rejects.toMatchObject({ code: 'JUDGE' })
  })
})
