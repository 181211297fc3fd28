import { describe, expect, it } from 'vitest'
import type { HeldOut } from '../../lib/directions/held-out.js'
import { worthOf, worthSentences } from '../../lib/directions/worth.js'
import { fakeDirections } from './fake-directions.js'

const held = (low: number, high: number): HeldOut => ({
  question: { auroc: 1, interval: [1, 1] },
  systemPrompt: { auroc: 1, interval: [1, 1] },
  both: { auroc: (low + high) / 2, interval: [low, high] },
})

describe('worthOf', () => {
  it.each([
    ['usable', held(0.51, 0.7)],
    ['undecided', held(0.5, 0.9)],
    ['undecided', held(0.2, 0.5)],
    ['inverted', held(0.1, 0.49)],
    ['unknown', { ...held(0.9, 1), both: null }],
    ['unknown', null],
    ['unknown', undefined],
  ])('should say %s by the interval held out by both', (worth, of) => {
    expect(worthOf(of)).toBe(worth)
  })
})

describe('worthSentences', () => {
  const { diagnostics, ...rest } = fakeDirections()

  it('should name every trait once at every layer, and those of all layers and of none', () => {
    const [first, second] = diagnostics
    const better = { ...second!, heldOut: { courage: held(0.6, 0.8), 'a/b': held(0.4, 0.8) } }
    expect(worthSentences({ ...rest, diagnostics: [first!, better] })).toEqual([
      'layer 1: usable: no trait; inverted: courage; not tested (it takes four questions, and four system prompts of each pole): a/b',
      'layer 3: usable: courage; not told from chance: a/b',
      'usable at every layer: no trait; at none: a/b',
    ])
  })

  it('should not list all traits by name', () => {
    const heldOut = { courage: held(0.6, 0.8), 'a/b': held(0.7, 0.8) }
    const good = diagnostics.map((layer) => ({ ...layer, heldOut }))
    expect(worthSentences({ ...rest, diagnostics: good })).toEqual([
      'layer 1: usable: all traits',
      'layer 3: usable: all traits',
      'usable at every layer: all traits; at none: no trait',
    ])
  })

  it('should need no sum for one layer', () => {
    expect(worthSentences({ ...rest, layers: [1], diagnostics: [diagnostics[0]!] })).toHaveLength(1)
  })
})
