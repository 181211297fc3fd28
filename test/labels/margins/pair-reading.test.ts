import { describe, expect, it } from 'vitest'
import type { MarginPairs } from '../../../lib/labels/margins/margin-pairs.js'
import { allPairsRemarks, pairPrompts, pairRemarks } from '../../../lib/labels/margins/pair-reading.js'
import { ChatTemplate } from '../../../lib/prompts/chat-template.js'
import type { Message } from '../../../lib/prompts/messages.js'
import { fakeModel, TEMPLATE } from '../../directions/fake-model.js'

const NO_SYSTEM = `{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}${TEMPLATE}`

const pairs = (aligned = 'good'): MarginPairs => {
  const messages: Message[] = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Who?' },
  ]
  const pair = { questionId: 'q', domain: null, messages, misaligned: 'bad' }
  return {
    ...{ file: 'pairs.jsonl', sha256: 'a'.repeat(64) },
    pairs: [
      { ...pair, aligned: 'good' },
      { ...pair, aligned },
    ],
  }
}
const text = (ids: Int32Array) => Buffer.from(ids).toString()

describe('pairRemarks()', () => {
  it('should say that a single question gives no interval', () => {
    const [pair] = pairs().pairs
    const of = (...ids: string[]) =>
      pairRemarks({ pairs: ids.map((questionId) => ({ ...pair!, questionId })) })
    expect(of('a', 'b')).toEqual([])
    expect(of('a', 'a')).toEqual([expect.stringMatching(/single question.*warns of nothing$/)])
  })
})

describe('allPairsRemarks()', () => {
  it('should say that pairs of the domain of training count too, where they have domains', () => {
    const [pair] = pairs().pairs
    const of = (...domains: (string | null)[]) =>
      allPairsRemarks({ pairs: domains.map((domain, i) => ({ ...pair!, questionId: `${i}`, domain })) })
    expect(of(null, null)).toEqual([])
    expect(of('sports', 'financial', 'sports')).toEqual([
      expect.stringMatching(/all domains \(financial, sports\).*label --margin --domain/),
    ])
  })
})

describe('pairPrompts()', () => {
  it('should be the same whatever trait pack a run is measured with', async () => {
    const read = (acknowledgement?: string) =>
      pairPrompts(fakeModel(), new ChatTemplate(NO_SYSTEM, { acknowledgement }), pairs())
    const ours = await read()
    expect(text(ours.prompts[0]!)).toBe(
      '<user>Be brief.<assistant>Understood. I will follow these instructions.<user>Who?<assistant>',
    )
    expect(await read('Aye.')).toEqual(ours)
  })

  it('should hand a system message to a template that takes it', async () => {
    const { prompts } = await pairPrompts(fakeModel(), new ChatTemplate(TEMPLATE), pairs())
    expect(text(prompts[0]!)).toBe('<system>Be brief.<user>Who?<assistant>')
  })

  it('should refuse, naming the pair, an answer beyond the context and one without tokens', async () => {
    const template = new ChatTemplate(TEMPLATE)
    await expect(pairPrompts(fakeModel(), template, pairs('g'.repeat(4090)))).rejects.toMatchObject({
      code: 'PROMPT_TOO_LONG',
      message: expect.stringMatching(
        /^the aligned answer of pair 2 in pairs\.jsonl with its question has 4\d{3} tokens/,
      ),
    })
    const drops = fakeModel({
      tokenize: async (texts: readonly string[]) =>
        texts.map((one) => Int32Array.from(Buffer.from(one.replaceAll('§', '')))),
    })
    await expect(pairPrompts(drops, template, pairs('§'))).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: 'expected the aligned answer of pair 2 in pairs.jsonl to have tokens, found none for its text',
    })
  })
})
