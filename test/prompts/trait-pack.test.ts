import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { sha256 } from '../../lib/formats/files/hash.js'
import { packageRoot } from '../../lib/package.js'
import { loadTraitPack, SHIPPED_PACKS, selectTraits } from '../../lib/prompts/trait-pack.js'
import { tempFolder } from './temp-folder.js'

const small = `\
traits:
  sea-legs 2:
    description: Stands or falls.
    positive_label: steady
    negative_label: dizzy
    positive_system_prompts: [Stand., Keep standing.]
    negative_system_prompts:
      - Fall.
questions:
  - Why?
  - How?
eval_prompts:
  wet: [Is it raining?]
  dry: [Is it sunny?, Is it hot?]
`

const load = (text: string | Uint8Array) =>
  loadTraitPack(join(tempFolder({ 'mine.yaml': text }), 'mine.yaml'))

describe('loadTraitPack', () => {
  it("should load a user's file with its own trait names, order and pool sizes", async () => {
    const { source, contentHash, ...pack } = await load(small)
    expect(source).toMatch(/mine\.yaml$/)
    expect(contentHash).toMatch(/^[0-9a-f]{64}$/)
    expect(pack).toEqual({
      name: 'mine',
      sha256: sha256(small),
      acknowledgement: 'Understood. I will follow these instructions.',
      traits: [
        {
          name: 'sea-legs 2',
          description: 'Stands or falls.',
          positiveLabel: 'steady',
          negativeLabel: 'dizzy',
          positiveSystemPrompts: ['Stand.', 'Keep standing.'],
          negativeSystemPrompts: ['Fall.'],
        },
      ],
      questions: ['Why?', 'How?'],
      evalPrompts: [
        { category: 'wet', prompts: ['Is it raining?'] },
        { category: 'dry', prompts: ['Is it sunny?', 'Is it hot?'] },
      ],
    })
  })

  it('should read name, version and acknowledgement where they are given', async () => {
    const pack = await load(`name: tides\nversion: 2\nacknowledgement: Aye.\n${small}`)
    expect([pack.name, pack.version, pack.acknowledgement]).toEqual(['tides', '2', 'Aye.'])
  })

  it.each(SHIPPED_PACKS)('should load the pack %s, which ships with the package', async (name) => {
    const bytes = readFileSync(join(packageRoot, `traits/${name}.yaml`))
    const pack = await loadTraitPack(name)
    expect([pack.name, pack.source, pack.sha256]).toEqual([name, name, sha256(bytes)])
  })

  it('should know wordings in pairs, which reach the model as others do', async () => {
    const even = small.replace('      - Fall.', '      - Fall.\n      - Keep falling.')
    const paired = await load(even.replace('    positive_label', '    paired: true\n    positive_label'))
    const alone = await load(even.replace('    positive_label', '    paired: false\n    positive_label'))
    expect([paired.traits[0]!.paired, alone.traits[0]!.paired]).toEqual([true, undefined])
    expect(paired.contentHash).toBe(alone.contentHash)
  })

  it('should keep the content hash when only layout and labels change', async () => {
    const first = await load(small)
    const restyled = await load(
      `# A comment.\nname: other\n${small.replace('Stands or falls.', '"Else."').replace('[Stand., Keep standing.]', '["Stand.", "Keep standing."]')}`,
    )
    expect(restyled.sha256).not.toBe(first.sha256)
    expect(restyled.contentHash).toBe(first.contentHash)
  })

  it.each([
    ['a prompt', 'Fall.', 'Fall!'],
    ['the order of questions', '- Why?\n  - How?', '- How?\n  - Why?'],
    ['a trait name', 'sea-legs 2', 'sea-legs 3'],
    ['a category', 'wet:', 'damp:'],
    ['the acknowledgement', 'traits:\n', 'acknowledgement: Aye.\ntraits:\n'],
  ])('should change the content hash with %s', async (_, from, to) => {
    expect((await load(small.replace(from, to))).contentHash).not.toBe((await load(small)).contentHash)
  })

  it.each([
    [
      'an unknown key',
      'questions:',
      'qestions:',
      /line 9: unknown key "qestions" in the pack; it knows name,/,
    ],
    [
      'an unknown key of a trait',
      'positive_label',
      'label',
      /line 4: unknown key "label" in trait sea-legs 2/,
    ],
    [
      'a missing pole',
      '    negative_system_prompts:\n      - Fall.\n',
      '',
      /line 2: trait sea-legs 2 lacks the key negative_system_prompts/,
    ],
    [
      'pairs without a partner',
      '    positive_label',
      '    paired: true\n    positive_label',
      /line 4: paired of trait sea-legs 2 is true, but it has 2 positive and 1 negative/,
    ],
    [
      'pairs that are neither true nor false',
      '    positive_label',
      '    paired: some\n    positive_label',
      /line 4: expected true or false for paired of trait sea-legs 2, found the string some/,
    ],
    [
      'a name that a figure has',
      'sea-legs 2',
      'length',
      /line 2: the trait name length is taken: .*drift_length/,
    ],
    ['missing questions', 'questions:\n  - Why?\n  - How?\n', '', /line 1: the pack lacks the key questions/],
    ['an empty prompt', '- How?', '- " "', /line 11: a prompt of questions is empty/],
    ['a prompt left out', '- How?', '-', /line 11: expected text for a prompt of questions, found nothing/],
    ['a repeated prompt', '- How?', '- "Why? "', /line 11: .*repeats the one on line 10/],
    ['a number as a prompt', '- How?', '- 42', /line 11: .*found the number 42; put text in quotes/],
    ['a truth value as a prompt', '- How?', '- true', /line 11: .*found the boolean true/],
    ['keys as a prompt', '- How?', '- How: now', /line 11: .*found a list or keys/],
    ['text in place of a list', '[Is it raining?]', 'Is it raining?', /line 13: expected a list of prompts/],
    ['an empty list', '[Is it raining?]', '[]', /line 13: eval_prompts category wet is empty/],
    [
      'a list in place of traits',
      small.slice(0, small.indexOf('questions')),
      'traits: [a]\n',
      /line 1: expected keys/,
    ],
    [
      'a trait without keys',
      /sea-legs 2:\n(?: {4}.*\n)+/,
      'sea-legs 2: 7\n',
      /line 2: expected keys under trait/,
    ],
    ['a trait name that is no name', 'sea-legs 2', '"../x"', /line 2: the trait name "\.\.\/x" must be/],
    ['a trait given twice', 'questions:', '  sea-legs 2: {}\nquestions:', /line 9: this key is given twice/],
    ['a category given twice', 'dry:', 'wet:', /line 14: this key is given twice/],
    ['an alias', '- How?', '- *why', /line 11: /],
    ['an alias that exists', '- Why?\n  - How?', '- &why Why?\n  - *why', /line 11: .*YAML alias \(\*why\)/],
    ['a tag nobody knows', '- How?', '- !secret How?', /line 11: not valid YAML/],
    ['broken YAML', '- How?', '- "How?', /line \d+: not valid YAML/],
    ['a second document', '- How?', '- How?\n---\na: 1', /line \d+: a second document begins/],
    [
      'a prompt cut off',
      '- How?',
      '- How is the #1 way?',
      /line 11: "#1 way\?" behind a text begins a comment/,
    ],
    ['tabs', '  - How?', '\t- How?', /line 11: not valid YAML/],
    ['an empty file', small, '', /line 1: expected the keys traits, questions and eval_prompts/],
  ])('should refuse %s and name the line', async (_, from, to, text) => {
    const broken = small.replace(from, to)
    expect(broken).not.toBe(small)
    await expect(load(broken)).rejects.toThrow(
      expect.objectContaining({ code: 'FILE_INVALID', message: expect.stringMatching(text) }),
    )
  })

  it('should read over comments, and keep what # means in quotes and within words', async () => {
    const text = small.replace(
      '- How?',
      '- How? # as before\n  - "Which #1?" #x\n  - Why C#?\n  - |\n    And #2?',
    )
    expect((await load(text)).questions).toEqual(['Why?', 'How?', 'Which #1?', 'Why C#?', 'And #2?\n'])
  })

  it('should refuse a bomb of aliases at once', async () => {
    const levels = Array.from({ length: 30 }, (_, i) => `  - &l${i + 1} [*l${i}, *l${i}, *l${i}, *l${i}]`)
    const bomb = `questions:\n  - &l0 [boom]\n${levels.join('\n')}\n`
    await expect(load(bomb)).rejects.toThrow(
      expect.objectContaining({ code: 'FILE_INVALID', message: expect.stringMatching(/line/) }),
    )
  })

  it('should refuse nesting that would exhaust the stack', async () => {
    await expect(load(`traits: ${'['.repeat(100_000)}`)).rejects.toThrow(
      expect.objectContaining({ code: 'FILE_INVALID' }),
    )
  })

  it.each([
    ['a file over 4 MB', 'x'.repeat(4 * 2 ** 20 + 1), /at most 4194304 bytes.*found 4194305/],
    ['bytes that are not UTF-8', Uint8Array.of(0x61, 0xff), /UTF-8/],
  ])('should refuse %s', async (_, content, text) => {
    await expect(load(content)).rejects.toThrow(
      expect.objectContaining({ code: 'FILE_INVALID', message: expect.stringMatching(text) }),
    )
  })

  it('should refuse a folder and a missing file', async () => {
    const folder = tempFolder({})
    await expect(loadTraitPack(folder)).rejects.toThrow(expect.objectContaining({ code: 'FILE_INVALID' }))
    await expect(loadTraitPack(join(folder, 'none.yaml'))).rejects.toThrow(
      expect.objectContaining({ code: 'FILE_NOT_FOUND' }),
    )
    await expect(loadTraitPack('core-3')).rejects.toThrow(
      'expected core, core-2 or a file, found nothing at core-3; check the name',
    )
  })
})

describe('selectTraits', () => {
  it.each([
    [
      'core',
      [
        'honesty',
        'sycophancy',
        'harmlessness',
        'power_seeking',
        'helpfulness',
        'confidence',
        'corrigibility',
      ],
    ],
    ['control', ['verbosity', 'formality', 'technicality', 'humor', 'concreteness', 'warmth', 'creativity']],
    [['warmth', 'honesty'] as const, ['warmth', 'honesty']],
  ])('should give the traits of %j in that order', async (selection, names) => {
    const pack = await loadTraitPack('core')
    expect(selectTraits(pack, selection as 'core').map((trait) => trait.name)).toEqual(names)
  })

  it('should give all traits of a pack in file order', async () => {
    expect(selectTraits(await load(small), 'all').map((trait) => trait.name)).toEqual(['sea-legs 2'])
  })

  it.each([
    ['a trait that the pack lacks', ['sea-legs 2', 'luck'], /mine has no trait luck; it has sea-legs 2/],
    ['core traits of a pack without them', 'core', /has no trait honesty/],
    ['a trait named twice', ['sea-legs 2', 'sea-legs 2'], /named twice/],
    ['an empty list', [], /at least one trait/],
    ['a name that stands for nothing', 'cor', /core, control, all or a list of traits, found cor/],
  ])('should refuse %s', async (_, selection, text) => {
    const pack = await load(small)
    expect(() => selectTraits(pack, selection as 'core')).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(text) }),
    )
  })
})

// The published reference code's own file is not ours to ship, so it is read from where the tester keeps it.
const reference = process.env.TRAITSCOPE_REFERENCE_DATA
if (reference === undefined) {
  console.info(
    "skipped: the reference's traits.yaml; set TRAITSCOPE_REFERENCE_DATA to the folder that holds it",
  )
}
describe('loadTraitPack on the published reference file', () => {
  it.skipIf(reference === undefined)('should load it as it is', async () => {
    const pack = await loadTraitPack(join(reference!, 'traits.yaml'))
    expect(pack.traits.length).toBe(16)
    expect(pack.traits.every((trait) => trait.positiveSystemPrompts.length === 5)).toBe(true)
    expect(pack.traits.every((trait) => trait.negativeSystemPrompts.length === 5)).toBe(true)
    expect(pack.questions.length).toBe(30)
    expect(pack.evalPrompts.map(({ category, prompts }) => [category, prompts.length])).toEqual([
      ['technical', 25],
      ['ethical', 25],
      ['emotional', 25],
      ['casual', 25],
      ['adversarial', 15],
    ])
    expect(selectTraits(pack, 'core').length + selectTraits(pack, 'control').length).toBe(14)
  })
})
