import { describe, expect, it } from 'vitest'
import { evaluationPrompts, extractionPrompts } from '../../lib/prompts/prompt-sets.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'

const trait = {
  name: 'warmth',
  description: 'd',
  positiveLabel: 'warm',
  negativeLabel: 'cold',
  positiveSystemPrompts: ['p1', 'p2', 'p3'],
  negativeSystemPrompts: ['n1'],
}

describe('extractionPrompts', () => {
  it('should go question by question through the system prompts, with poles of unequal size', () => {
    const { positive, negative } = extractionPrompts({ questions: ['q1', 'q2'] }, trait)
    const said = (prompts: typeof positive) =>
      prompts.map((messages) => messages.map((m) => m.content).join(' '))
    expect(said(positive)).toEqual(['p1 q1', 'p2 q1', 'p3 q1', 'p1 q2', 'p2 q2', 'p3 q2'])
    expect(said(negative)).toEqual(['n1 q1', 'n1 q2'])
    expect(positive[0]).toEqual([
      { role: 'system', content: 'p1' },
      { role: 'user', content: 'q1' },
    ])
  })

  it('should give 2,100 conversations for the seven traits of the core pack', async () => {
    const pack = await loadTraitPack('core')
    const counts = pack.traits.slice(0, 7).map((one) => {
      const { positive, negative } = extractionPrompts(pack, one)
      return positive.length + negative.length
    })
    expect(counts).toEqual([300, 300, 300, 300, 300, 300, 300])
  })
})

describe('evaluationPrompts', () => {
  it('should flatten the categories in their order, one user turn each', () => {
    const evalPrompts = [
      { category: 'b', prompts: ['one', 'two'] },
      { category: 'a', prompts: ['three'] },
    ]
    expect(evaluationPrompts({ evalPrompts })).toEqual([
      { category: 'b', messages: [{ role: 'user', content: 'one' }] },
      { category: 'b', messages: [{ role: 'user', content: 'two' }] },
      { category: 'a', messages: [{ role: 'user', content: 'three' }] },
    ])
  })
})
