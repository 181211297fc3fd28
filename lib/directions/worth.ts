import type { Directions, LayerDiagnostics } from './directions.js'
import type { HeldOut } from './held-out.js'

/**
 * Whether a direction orders the poles on questions and system prompts that it was not made of: the whole interval of
 * the AUROC held out by both lies above 1/2 (`usable`), below it (`inverted`: it points the other way) or neither
 * (`undecided`); `unknown` when it could not be tested.
 */
export type Worth = 'usable' | 'undecided' | 'inverted' | 'unknown'

export function worthOf(heldOut: HeldOut | null | undefined): Worth {
  if (!heldOut?.both) return 'unknown'
  const [low, high] = heldOut.both.interval
  return low > 0.5 ? 'usable' : high < 0.5 ? 'inverted' : 'undecided'
}

const WORDS: [Worth, string][] = [
  ['usable', 'usable'],
  ['undecided', 'not told from chance'],
  ['inverted', 'inverted'],
  ['unknown', 'not tested (it takes four questions, and four system prompts of each pole)'],
]

/** Which traits are usable at which layers, in plain words: a sentence per layer, and one over all of them. */
export function worthSentences({
  layers,
  traits,
  diagnostics,
}: Pick<Directions, 'layers' | 'traits' | 'diagnostics'>): string[] {
  const worth = (layer: LayerDiagnostics, trait: string) =>
    worthOf(Object.hasOwn(layer.heldOut, trait) ? layer.heldOut[trait] : undefined)
  const list = (names: readonly string[]) =>
    names.length > 1 && names.length === traits.length ? 'all traits' : names.join(', ') || 'no trait'
  const perLayer = diagnostics.map((layer) => {
    const groups = WORDS.map(([kind, word]): [string, string[]] => [
      word,
      traits.filter((trait) => worth(layer, trait) === kind),
    ]).filter(([word, names]) => names.length > 0 || word === 'usable')
    return `layer ${layer.layer}: ${groups.map(([word, names]) => `${word}: ${list(names)}`).join('; ')}`
  })
  if (layers.length === 1) return perLayer
  const usable = (trait: string) => diagnostics.filter((layer) => worth(layer, trait) === 'usable').length
  return [
    ...perLayer,
    `usable at every layer: ${list(traits.filter((trait) => usable(trait) === layers.length))}; ` +
      `at none: ${list(traits.filter((trait) => usable(trait) === 0))}`,
  ]
}
