import { basename } from 'node:path'
import { Made, takeOptions } from '../arguments.js'
import type { FileHash } from '../formats/files/hash.js'
import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'
import { type Context, named } from './context.js'
import { readContextFile } from './context-file.js'
import { dataContexts } from './data-contexts.js'
import { readTrainingData } from './training-data.js'
import { unrelatedContexts } from './unrelated.js'

/** The contexts of a measurement, and where they are from. */
export interface ContextSet {
  contexts: Context[]
  /** By name, without folders. */
  files: FileHash[]
  /** What of the data is measured in no context, in sentences. */
  remarks: string[]
}

export const CONTEXT_SET = new Made<ContextSet>('contexts as contextsFrom gives them', 'contexts', true)

/** Where contexts are from; one of them at least. */
export interface ContextSources {
  /**
   * A file of contexts. `.txt`: a system prompt a line. `.json`: a list, `.jsonl`: a line each, of texts or of objects with `system`,
   * `prefix` or both, and a `name` if wanted.
   */
  file?: string | undefined
  /** A fine-tuning set: its own contexts, and as many unrelated ones. */
  data?: string | undefined
}

/**
 * The contexts that a file names and those of a fine-tuning set, with as many unrelated ones of the same length in tokens.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming line or row; UNSUPPORTED for another extension
 */
export async function contextsFrom(
  sources: ContextSources,
  { model, template, pack }: { model: Pick<Model, 'tokenize'>; template: ChatTemplate; pack: TraitPack },
): Promise<ContextSet> {
  const { file, data } = takeOptions('contextsFrom', sources, { file: 'path', data: 'path' })
  const given = file === undefined ? undefined : await readContextFile(file)
  const set: ContextSet = {
    contexts: given?.contexts ?? [],
    files: given ? [{ path: basename(file!), sha256: given.sha256 }] : [],
    remarks: [],
  }
  if (data === undefined) return set
  const rows = await readTrainingData(data)
  const names = set.contexts.map(({ name }) => name)
  const own = dataContexts(rows, names)
  const key = ({ system, prefix }: Context) => JSON.stringify([system, prefix])
  const known = new Set(set.contexts.map(key))
  const fromData = own.contexts.filter((one) => !known.has(key(one)))
  const unrelated = await unrelatedContexts(model, template, pack, fromData, rows.openings)
  const nameless = unrelated.map(({ name: _, ...context }) => context)
  return {
    contexts: [...set.contexts, ...fromData, ...named(nameless, names)],
    files: [...set.files, { path: basename(data), sha256: rows.sha256 }],
    remarks: [...own.remarks, ...twice(own.contexts.length - fromData.length)],
  }
}

/** A context counts once, as a given one. */
const twice = (count: number): string[] =>
  count === 0
    ? []
    : [
        `${count === 1 ? 'a context of the data is' : `${count} contexts of the data are`} given too, and read as given: no unrelated one goes with ${count === 1 ? 'it' : 'them'}`,
      ]
