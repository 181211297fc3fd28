/** What a folder of labels may hold: answers under one set of settings, grades of one judge. */

import { isAbsolute, join, relative, sep } from 'node:path'
import { LLAMA_CPP_VERSION } from '../binding.js'
import { TraitscopeError } from '../errors.js'
import { writeFileAtomic } from '../formats/files/atomic.js'
import { ifThere } from '../formats/files/file-errors.js'
import { exists } from '../formats/files/file-stats.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { JsonFields } from '../formats/json/json-fields.js'
import type { Model } from '../model/model.js'
import { packageVersion } from '../package.js'
import { type LabelRunOptions, MAX_TOKENS } from './label-options.js'
import { type LabelSource, parseSource } from './label-source.js'
import { describeBasis } from './label-words.js'

export const GRADES_FILE = 'grades.json'

/** What `label` leaves beside a measurement, and the paper's code: hours of answers and paid grades, of the run and not of the measurement. */
export const LABEL_FILES =
  /^(responses\.jsonl|judgements\..*\.jsonl|grades\.json(\.gz)?|label_manifest\.json|margins\.jsonl?|margin_manifest\.json|betley_eval)$/

/** What all answers of a folder have in common. Draws are not among it: more of them may be added. */
export function settingsOf(model: Model, { template, questions, sampling = {} }: LabelRunOptions): object {
  const { temperature = 1, topP = 1, maxTokens = MAX_TOKENS, seed = 0 } = sampling
  const { sha256: templateSha256, systemRole, date, acknowledgement } = template
  return {
    schemaVersion: 1,
    base: model.fingerprint,
    template: { sha256: templateSha256, systemRole, date, acknowledgement },
    questionsSha256: questions.sha256,
    sampling: { temperature, topP, maxTokens, seed },
    versions: { traitscope: packageVersion, llamaCpp: LLAMA_CPP_VERSION },
  }
}

export async function holdSettings(path: string, settings: object): Promise<void> {
  const known = await ifThere(readJsonFile(path))
  if (known === undefined) return writeFileAtomic(path, `${JSON.stringify(settings, null, 1)}\n`)
  const different = Object.entries(settings).filter(
    ([key, value]) => !isJsonObject(known) || JSON.stringify(known[key]) !== JSON.stringify(value),
  )
  if (different.length === 0) return
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected answers under these settings, found ${path} with another ${different.map(([key]) => key).join(', ')}; name another folder (-o) for these`,
  )
}

/** Labels are not replaced in silence by those of another judge. */
export async function refuseOtherGrades(out: string, source: LabelSource, force: boolean): Promise<void> {
  if (await exists(join(out, 'betley_eval', GRADES_FILE))) {
    throw new TraitscopeError(
      'FILE_EXISTS',
      `${out} holds betley_eval/${GRADES_FILE}, which is read before ours; move it away, or name another folder`,
    )
  }
  const path = join(out, GRADES_FILE)
  if (force || !(await exists(path))) return
  const known = await readJsonFile(path)
  const isOurs = (entry: unknown) =>
    isJsonObject(entry) &&
    isJsonObject(entry.traitscope) &&
    isJsonObject(entry.traitscope.judge) &&
    describeBasis(parseSource(new JsonFields(entry.traitscope, path, 'traitscope.'))) ===
      describeBasis(source)
  if (isJsonObject(known) && Object.values(known).every(isOurs)) return
  throw new TraitscopeError(
    'FILE_EXISTS',
    `${path} holds labels of another judge, rule or list of questions; use --force to replace them, or name another folder`,
  )
}

/** A trainer's folder is only read, and looks at its checkpoints' dates when it deletes them. */
export function refuseInside(out: string, folders: readonly string[]): void {
  const inside = folders.find((folder, i) => {
    const below = relative(folder, out)
    return below === '' || (i > 0 && below !== '..' && !below.startsWith(`..${sep}`) && !isAbsolute(below))
  })
  if (inside === undefined) return
  throw new TraitscopeError(
    'USAGE',
    `expected a folder for the labels that is none of the trainer's (-o), found ${out} in ${inside}; name another one`,
  )
}
