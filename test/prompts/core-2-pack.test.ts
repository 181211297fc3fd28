import { beforeAll, describe, expect, it } from 'vitest'
import { CORE_TRAITS, loadTraitPack, selectTraits } from '../../lib/prompts/trait-pack.js'
import type { TraitPack } from '../../lib/prompts/trait-pack-yaml.js'

let pack: TraitPack
let core: TraitPack
beforeAll(async () => {
  pack = await loadTraitPack('core-2')
  core = await loadTraitPack('core')
})

describe('the second core trait pack', () => {
  it('should differ from the first in the system prompts of the core traits and in the questions', () => {
    expect(pack.traits.map(({ name }) => name)).toEqual(core.traits.map(({ name }) => name))
    expect(selectTraits(pack, 'control')).toEqual(selectTraits(core, 'control'))
    expect([pack.evalPrompts, pack.acknowledgement]).toEqual([core.evalPrompts, core.acknowledgement])
    expect(core.questions).toEqual(expect.arrayContaining([...pack.questions]))
    expect(pack.contentHash).not.toBe(core.contentHash)
  })

  it('should pair its wordings, none twice, in at most 600 inputs a trait', () => {
    for (const name of CORE_TRAITS) {
      const [trait] = selectTraits(pack, [name])
      const { positiveSystemPrompts: above, negativeSystemPrompts: below } = trait!
      expect(trait!.paired, name).toBe(true)
      expect(above.length, name).toBe(below.length)
      expect(new Set([...above, ...below]).size, name).toBe(2 * above.length)
      expect(2 * above.length * pack.questions.length).toBeLessThanOrEqual(600)
      // Each pair is of one form: it differs by less than the pack's shortest and longest wordings do.
      const lengths = above.map((text, i) => text.length / below[i]!.length)
      expect(Math.min(...lengths), name).toBeGreaterThan(0.4)
      expect(Math.max(...lengths), name).toBeLessThan(2.5)
    }
  })

  it('should use forms that the first pack does not', () => {
    const all = selectTraits(pack, 'core').flatMap(({ positiveSystemPrompts }) => positiveSystemPrompts)
    expect(all.filter((text) => text.includes('\n1. ')).length).toBe(CORE_TRAITS.length)
    const words = all.map((text) => text.split(/\s+/).length)
    expect(Math.min(...words)).toBeLessThanOrEqual(5)
    expect(Math.max(...words)).toBeGreaterThanOrEqual(25)
  })
})
