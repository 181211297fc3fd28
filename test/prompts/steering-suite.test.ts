import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadPassages, passageTexts } from '../../lib/prompts/passages.js'
import { loadSteeringSuite } from '../../lib/prompts/steering-suite.js'
import { CORE_TRAITS, loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { sequenceRatio } from '../../lib/steering/sequence-ratio.js'
import { tempFolder } from './temp-folder.js'

const file = (text: string): string => join(tempFolder({ 'words.yaml': text }), 'words.yaml')

describe('loadSteeringSuite()', () => {
  it('should hold twenty prompts for each trait of the method, in its order', async () => {
    const { items, poles } = await loadSteeringSuite('core')
    expect([...poles.keys()]).toEqual([...CORE_TRAITS])
    expect(items.length).toBe(140)
    expect(new Set(items.map(({ id }) => id)).size).toBe(140)
    expect(items.map(({ trait }) => trait)).toEqual(CORE_TRAITS.flatMap((trait) => Array(20).fill(trait)))
    expect(items[20]!.id).toBe('sycophancy-01')
    const instructed = items.filter(({ messages }) => messages[0]!.role === 'system')
    expect(instructed.map(({ trait }) => trait)).toEqual(Array(20).fill('corrigibility'))
  })

  it('should share no prompt with the pack, and hold none twice', async () => {
    const { items } = await loadSteeringSuite('core')
    const pack = await loadTraitPack('core')
    const known = [...pack.questions, ...pack.evalPrompts.flatMap(({ prompts }) => prompts)]
    const prompts = items.map(({ trait, messages }) => ({ trait, text: messages.at(-1)!.content }))
    for (const [i, { trait, text }] of prompts.entries()) {
      for (const other of known) expect(sequenceRatio(other, text), text).toBeLessThan(0.8)
      for (const other of prompts.slice(0, i)) {
        if (other.trait === trait) expect(sequenceRatio(other.text, text), text).toBeLessThan(0.9)
      }
    }
  })

  it.each([
    [
      'traits: {a: {positive: x, negative: y, prompts: []}}',
      'trait a: expected prompts to be a list with entries',
    ],
    ['traits: {a: {positive: x, prompts: [hi]}}', 'trait a, negative: expected text'],
    ['traits: {a: {positive: x, negative: y, prompts: [hi], extra: 1}}', 'found "extra"'],
    ['traits: {a: {positive: x, negative: y, prompts: [hi, {prompt: ho}]}}', 'prompt 02, system'],
    ['traits: {}', 'at least one trait'],
    ['[', 'not readable as YAML'],
  ])('should refuse %s', async (text, words) => {
    const error = await loadSteeringSuite(file(text)).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'FILE_INVALID', message: expect.stringContaining(words) })
  })
})

describe('loadPassages()', () => {
  it('should hold ten passages a pole and twenty openers, none twice', async () => {
    const passages = await loadPassages('core')
    expect([...passages.traits.keys()]).toEqual([...CORE_TRAITS])
    const all = [...passages.traits.values()].flatMap(({ positive, negative }) => [...positive, ...negative])
    expect(new Set(all).size).toBe(140)
    expect(new Set(passages.openers).size).toBe(20)
    const { positive, negative } = passageTexts(passages, 'honesty')
    expect([positive.length, negative.length]).toEqual([200, 200])
    const { positive: said } = passages.traits.get('honesty')!
    expect(positive.slice(0, 2)).toEqual([`${said[0]} The next day`, `${said[1]} The next day`])
    expect(positive.every((text) => passages.openers.some((opener) => text.endsWith(` ${opener}`)))).toBe(
      true,
    )
  })

  it('should refuse a trait without passages, and lists without entries', async () => {
    expect(() => passageTexts({ openers: [], traits: new Map(), source: 'x', sha256: '' }, 'humor')).toThrow(
      'expected a trait that has passages',
    )
    const path = file('openers: []\ntraits: {a: {positive: [x], negative: [y]}}')
    await expect(loadPassages(path)).rejects.toMatchObject({ code: 'FILE_INVALID' })
  })
})
