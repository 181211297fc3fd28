import { basename, extname, join } from 'node:path'
import { checkMade } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { unknownName } from '../formats/files/file-errors.js'
import { sha256 } from '../formats/files/hash.js'
import { readTextFile } from '../formats/files/text-file.js'
import { packageRoot } from '../package.js'
import { parseTraitPack, TRAIT_PACK, type Trait, type TraitPack } from './trait-pack-yaml.js'

/** The seven traits of the method, in its fixed order, which is also the order of a drift vector. */
export const CORE_TRAITS = [
  'honesty',
  'sycophancy',
  'harmlessness',
  'power_seeking',
  'helpfulness',
  'confidence',
  'corrigibility',
] as const

/** Traits of style, for the ablation that asks whether any seven directions would do. */
export const CONTROL_TRAITS = [
  'verbosity',
  'formality',
  'technicality',
  'humor',
  'concreteness',
  'warmth',
  'creativity',
] as const

/** The seven traits of the method, those of style, all of the pack, or some by name. */
export type TraitSelection = 'core' | 'control' | 'all' | readonly string[]

/** The packs that ship with traitscope, by the names that stand for them. */
export const SHIPPED_PACKS = ['core', 'core-2'] as const

/** Real packs are some 40 KB; a file a hundred times that is something else. */
const MAX_PACK_BYTES = 4 * 1024 * 1024

/**
 * Loads a pack that ships with traitscope, or a user's YAML file of the same shape (keys `traits`, `questions`,
 * `eval_prompts`, optionally `acknowledgement`, `name`, `version`). The published code's own file loads as it is.
 *
 * @param source `core`, `core-2` or a path; `./core` names a file called core.
 * @throws TraitscopeError FILE_NOT_FOUND or FILE_INVALID; a message on content names the line.
 */
export async function loadTraitPack(source: string): Promise<TraitPack> {
  const path = traitPackPath(source)
  const { bytes, text } = await readTextFile(path, MAX_PACK_BYTES).catch((error: unknown) => {
    throw unknownName(error, source, SHIPPED_PACKS)
  })
  const { name = basename(path, extname(path)), ...content } = parseTraitPack(text, path)
  return { name, source, sha256: sha256(bytes), contentHash: traitPackContentHash(content), ...content }
}

/** The file behind a source of {@link loadTraitPack}. */
export function traitPackPath(source: string): string {
  return SHIPPED_PACKS.some((name) => name === source)
    ? join(packageRoot, 'traits', `${source}.yaml`)
    : source
}

/**
 * SHA-256 of a canonical JSON of everything that reaches a model, in order: trait names, system prompts, questions,
 * evaluation prompts, acknowledgement. Comments, layout, labels, descriptions and the pack's name do not count, so two
 * files with one content hash give the same numbers.
 */
function traitPackContentHash(
  pack: Pick<TraitPack, 'acknowledgement' | 'traits' | 'questions' | 'evalPrompts'>,
): string {
  return sha256(
    JSON.stringify([
      pack.acknowledgement,
      pack.traits.map((trait) => [trait.name, trait.positiveSystemPrompts, trait.negativeSystemPrompts]),
      pack.questions,
      pack.evalPrompts.map(({ category, prompts }) => [category, prompts]),
    ]),
  )
}

/**
 * The traits to work on: `core` and `control` in the method's order, `all` in file order, or names in the order given.
 *
 * @throws TraitscopeError USAGE for an empty list, a name that the pack lacks or one named twice.
 */
export function selectTraits(pack: TraitPack, selection: TraitSelection): Trait[] {
  checkMade(pack, TRAIT_PACK)
  if (selection === 'all') return [...pack.traits]
  const names: readonly string[] =
    selection === 'core' ? CORE_TRAITS : selection === 'control' ? CONTROL_TRAITS : selection
  if (!Array.isArray(names)) {
    throw new TraitscopeError('USAGE', `expected core, control, all or a list of traits, found ${names}`)
  }
  if (names.length === 0) {
    throw new TraitscopeError('USAGE', 'expected at least one trait name, found none')
  }
  return names.map((name, index) => {
    if (names.indexOf(name) !== index) {
      throw new TraitscopeError('USAGE', `the trait ${name} is named twice; name it once`)
    }
    const trait = pack.traits.find((candidate) => candidate.name === name)
    if (trait === undefined) {
      const known = pack.traits.map((candidate) => candidate.name).join(', ')
      throw new TraitscopeError(
        'USAGE',
        `the trait pack ${pack.name} has no trait ${name}; it has ${known}; name some of them, or all (--trait-set)`,
      )
    }
    return trait
  })
}
