import { beforeAll, describe, expect, it } from 'vitest'
import { DEFAULT_ACKNOWLEDGEMENT } from '../../lib/prompts/messages.js'
import { CONTROL_TRAITS, CORE_TRAITS, loadTraitPack } from '../../lib/prompts/trait-pack.js'
import type { TraitPack } from '../../lib/prompts/trait-pack-yaml.js'

// The pack is the measuring instrument: these are the properties that its numbers rest on.
let pack: TraitPack
beforeAll(async () => {
  pack = await loadTraitPack('core')
})

const words = (text: string) => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? []
const countWords = (text: string) => text.split(/\s+/).length
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

function shingles(text: string, size = 3): Set<string> {
  const all = words(text)
  return new Set(
    all.slice(0, Math.max(0, all.length - size + 1)).map((_, i) => all.slice(i, i + size).join(' ')),
  )
}

function jaccard(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const common = [...a].filter((shingle) => b.has(shingle)).length
  return common / (a.size + b.size - common || 1)
}

const commonStart = (a: readonly string[], b: readonly string[]) => {
  const end = a.findIndex((word, i) => word !== b[i])
  return end < 0 ? a.length : end
}

/** Pairs that look like one template: shared word triples, or a shared beginning or end. */
function lookAlikes(texts: readonly string[]): string[] {
  const entries = texts.map((text) => ({ text, words: words(text), shingles: shingles(text) }))
  return entries.flatMap((a, i) =>
    entries
      .slice(i + 1)
      .filter(
        (b) =>
          jaccard(a.shingles, b.shingles) > 0.08 ||
          commonStart(a.words, b.words) > 3 ||
          commonStart(a.words.toReversed(), b.words.toReversed()) > 3,
      )
      .map((b) => `${a.text} | ${b.text}`),
  )
}

const evalPrompts = () => pack.evalPrompts.flatMap(({ prompts }) => prompts)
const systemPrompts = () =>
  pack.traits.flatMap((trait) => [...trait.positiveSystemPrompts, ...trait.negativeSystemPrompts])

describe('the core trait pack', () => {
  it('should hold the core traits in the order of the method, then the controls', () => {
    expect(pack.traits.map((trait) => trait.name)).toEqual([...CORE_TRAITS, ...CONTROL_TRAITS])
  })

  it('should label the poles as the method does', () => {
    expect(pack.traits.slice(0, 7).map((trait) => [trait.positiveLabel, trait.negativeLabel])).toEqual([
      ['honest', 'dishonest'],
      ['sycophantic', 'non-sycophantic'],
      ['harmless', 'harmful'],
      ['power-seeking', 'non-power-seeking'],
      ['helpful', 'unhelpful'],
      ['overconfident', 'calibrated'],
      ['corrigible', 'non-corrigible'],
    ])
  })

  it('should give every trait five system prompts per pole, of 12 to 45 words', () => {
    for (const trait of pack.traits) {
      expect([trait.positiveSystemPrompts.length, trait.negativeSystemPrompts.length]).toEqual([5, 5])
    }
    const lengths = systemPrompts().map(countWords)
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(12)
    expect(Math.max(...lengths)).toBeLessThanOrEqual(45)
  })

  // A length difference between the poles would leak into every direction.
  it('should write both poles of a trait at similar length', () => {
    for (const { name, positiveSystemPrompts, negativeSystemPrompts } of pack.traits) {
      const ratio = mean(positiveSystemPrompts.map(countWords)) / mean(negativeSystemPrompts.map(countWords))
      expect(ratio, name).toBeGreaterThan(0.75)
      expect(ratio, name).toBeLessThan(1.34)
    }
  })

  it('should ask 30 questions and 115 evaluation prompts in five categories', () => {
    expect(pack.questions.length).toBe(30)
    expect(pack.evalPrompts.map(({ category, prompts }) => [category, prompts.length])).toEqual([
      ['technical', 25],
      ['ethical', 25],
      ['emotional', 25],
      ['casual', 25],
      ['adversarial', 15],
    ])
  })

  // Speed figures are stated for user turns of 12 tokens or more on average; a word is at least a token.
  it('should use evaluation prompts of 10 words or more on average, and none under 8', () => {
    const lengths = evalPrompts().map(countWords)
    expect(mean(lengths)).toBeGreaterThanOrEqual(10)
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(8)
  })

  it('should vary how prompts begin', () => {
    const openings = evalPrompts().map((prompt) => words(prompt)[0]!)
    expect(new Set(openings).size).toBeGreaterThanOrEqual(50)
    const most = Math.max(...openings.map((word) => openings.filter((other) => other === word).length))
    expect(most).toBeLessThanOrEqual(15)
  })

  it('should have no two prompts that look alike', () => {
    expect(lookAlikes([...pack.questions, ...evalPrompts(), ...systemPrompts()])).toEqual([])
  })

  it('should not measure on a question that made the directions', () => {
    const asked = new Set(pack.questions.map((question) => words(question).join(' ')))
    expect(evalPrompts().filter((prompt) => asked.has(words(prompt).join(' ')))).toEqual([])
  })

  it('should be plain text that every tokenizer knows', () => {
    for (const text of [...pack.questions, ...evalPrompts(), ...systemPrompts()]) {
      expect(text).toMatch(/^[\x20-\x7e]+$/)
      expect(text).toBe(text.trim())
    }
  })

  it("should acknowledge with the protocol's words", () => {
    expect(pack.acknowledgement).toBe(DEFAULT_ACKNOWLEDGEMENT)
  })
})
