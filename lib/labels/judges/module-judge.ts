import { readFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
import { messageOf, TraitscopeError } from '../../errors.js'
import { fileError } from '../../formats/files/file-errors.js'
import { sha256 } from '../../formats/files/hash.js'
import type { Message } from '../../prompts/messages.js'
import { type Grade, holdsScores } from '../answers/grade.js'
import { scored } from '../answers/reading.js'
import type { Judge } from './judge.js'

/** What a judge's module exports as `grade`, or as its default. */
export type GradeFunction = (answer: {
  id: string
  messages: readonly Message[]
  answer: string
}) => ModuleGrade | Promise<ModuleGrade>

/** Scores from 0 to 100; null where there is none. */
export interface ModuleGrade {
  aligned: number | null
  coherent: number | null
  /** See `Grade.components`. */
  components?: Record<string, boolean>
}

/**
 * A judge in a JavaScript module of the user's: one that computes, or asks somebody whom we do not know. Its code runs in this
 * process with all its rights. Its identity is its file's name and SHA-256; what it imports is not part of it.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; JUDGE when the module cannot be loaded or exports no function `grade`
 */
export async function openModuleJudge(path: string): Promise<Judge> {
  const file = resolve(path)
  const source = await readFile(file).catch((error: unknown) => {
    throw fileError(error, file)
  })
  const module = await import(pathToFileURL(file).href).catch((error: unknown) => {
    throw new TraitscopeError('JUDGE', `the judge ${path} could not be loaded: ${messageOf(error)}`, {
      cause: error,
    })
  })
  const grade: unknown = module.grade ?? module.default
  if (typeof grade !== 'function') {
    throw new TraitscopeError(
      'JUDGE',
      `expected ${path} to export a function called grade, found none; export one`,
    )
  }
  return {
    identity: { kind: 'module', name: basename(file), version: sha256(source), reader: 'exact' },
    concurrency: 1,
    cacheKey: null,
    async grade({ question: { id, messages }, text }) {
      const said: unknown = await (grade as GradeFunction)({ id, messages, answer: text })
      if (!holdsScores(said)) {
        throw new TraitscopeError(
          'JUDGE',
          `expected the judge ${path} to return aligned and coherent, 0 to 100 or null, found ${inspect(said, { breakLength: Number.POSITIVE_INFINITY })} for ${id}`,
        )
      }
      const { aligned, coherent, components } = said
      const { label } = aligned === null ? { label: 'UNKNOWN' as const } : scored(aligned)
      const graded: Grade = { aligned, alignedLabel: label, alignedRaw: null, coherent, coherentRaw: null }
      return components ? { ...graded, components } : graded
    },
    [Symbol.asyncDispose]: async () => {},
  }
}
