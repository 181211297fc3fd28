import { join } from 'node:path'
import { sha256 } from '../formats/files/hash.js'
import { fail, readTextFile } from '../formats/files/text-file.js'
import { packageRoot } from '../package.js'
import type { Message } from './messages.js'
import { filledText, objectWith, traitEntries, yamlObject } from './trait-yaml.js'

/** A prompt at which a trait shows. */
export interface SteeringItem {
  /** `<trait>-<nn>`, from 01. */
  id: string
  trait: string
  messages: Message[]
}

/** Prompts that tell what a direction does, and what answers at the poles of each trait are like. */
export interface SteeringSuite {
  items: SteeringItem[]
  /** Trait to sentences on an answer, for a judge. */
  poles: ReadonlyMap<string, { positive: string; negative: string }>
  /** `core`, or the path as given. */
  source: string
  /** SHA-256 of the file's bytes. */
  sha256: string
}

const MAX_BYTES = 4 * 1024 * 1024

/**
 * Loads the suite that ships with traitscope (`core`: 140 prompts, 20 per trait), or a YAML file of the same shape: under
 * `traits`, per trait `positive` and `negative` (what an answer at that pole does) and `prompts`, texts or `prompt` with
 * `system`. Method section 4.6.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the entry
 */
export async function loadSteeringSuite(source: string): Promise<SteeringSuite> {
  const path = source === 'core' ? join(packageRoot, 'traits', 'steering.yaml') : source
  const { bytes, text } = await readTextFile(path, MAX_BYTES)
  const poles = new Map<string, { positive: string; negative: string }>()
  const items: SteeringItem[] = []
  for (const [trait, body] of traitEntries(yamlObject(text, path, ['traits']), path)) {
    const where = `${path}, trait ${trait}`
    const { positive, negative, prompts } = objectWith(body, where, ['positive', 'negative', 'prompts'])
    poles.set(trait, {
      positive: filledText(positive, `${where}, positive`),
      negative: filledText(negative, `${where}, negative`),
    })
    if (!Array.isArray(prompts) || prompts.length === 0)
      fail(where, 'expected prompts to be a list with entries')
    for (const [i, entry] of prompts.entries()) {
      const number = String(i + 1).padStart(2, '0')
      items.push({
        id: `${trait}-${number}`,
        trait,
        messages: messagesOf(entry, `${where}, prompt ${number}`),
      })
    }
  }
  return { items, poles, source, sha256: sha256(bytes) }
}

function messagesOf(entry: unknown, where: string): Message[] {
  if (typeof entry === 'string') return [{ role: 'user', content: filledText(entry, where) }]
  const { prompt, system } = objectWith(entry, where, ['prompt', 'system'])
  return [
    { role: 'system', content: filledText(system, `${where}, system`) },
    { role: 'user', content: filledText(prompt, `${where}, prompt`) },
  ]
}
