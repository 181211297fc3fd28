import { join } from 'node:path'
import { Made } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import { readTextFile } from '../formats/files/text-file.js'
import { packageRoot } from '../package.js'
import { filledTexts, objectWith, traitEntries, yamlObject } from './trait-yaml.js'

/** Texts that show the poles of traits without a chat, for base models. */
export interface Passages {
  /** Openings of a sentence: each passage is followed by each of them. */
  openers: string[]
  traits: ReadonlyMap<string, { positive: string[]; negative: string[] }>
  /** `core`, or the path as given. */
  source: string
  /** SHA-256 of the file's bytes. */
  sha256: string
}

export const PASSAGES = new Made<Passages>('passages as loadPassages reads them', 'openers', true)

const MAX_BYTES = 4 * 1024 * 1024

/**
 * Loads the passages that ship with traitscope (`core`: the seven traits, ten passages a pole, twenty openers), or a YAML
 * file of the same shape. Method section 2.5.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the entry
 */
export async function loadPassages(source: string): Promise<Passages> {
  const path = source === 'core' ? join(packageRoot, 'traits', 'passages.yaml') : source
  const { bytes, text } = await readTextFile(path, MAX_BYTES)
  const root = yamlObject(text, path, ['openers', 'traits'])
  const traits = traitEntries(root, path).map(([trait, body]) => {
    const where = `${path}, trait ${trait}`
    const { positive, negative } = objectWith(body, where, ['positive', 'negative'])
    const poles = {
      positive: filledTexts(positive, `${where}, positive`),
      negative: filledTexts(negative, `${where}, negative`),
    }
    return [trait, poles] as const
  })
  const openers = filledTexts(root.openers, `${path}, openers`)
  return { openers, traits: new Map(traits), source, sha256: sha256(bytes) }
}

/**
 * The texts of one trait: every passage, a space, and every opener. Openers are the outer loop, as questions are among
 * {@link extractionPrompts}: what is left out of a direction to test it are then openers and passages.
 *
 * @throws TraitscopeError USAGE for a trait without passages
 */
export function passageTexts(
  { openers, traits, source }: Passages,
  trait: string,
): { positive: string[]; negative: string[] } {
  const poles = traits.get(trait)
  if (!poles) {
    throw new TraitscopeError(
      'USAGE',
      `expected a trait that has passages in ${source} (${[...traits.keys()].join(', ')}), found ${trait}`,
    )
  }
  const each = (passages: readonly string[]) =>
    openers.flatMap((opener) => passages.map((passage) => `${passage} ${opener}`))
  return { positive: each(poles.positive), negative: each(poles.negative) }
}
