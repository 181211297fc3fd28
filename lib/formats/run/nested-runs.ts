import type { Dirent } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { join, posix, sep } from 'node:path'
import { fileNames } from '../files/list-folder.js'
import { checkpointKind } from './checkpoint-folder.js'
import { checkpointStep, STAGING } from './step-folders.js'

/** A run, an adapter or a model somewhere below a folder. */
export interface NestedRun {
  /** Relative to the folder, with slashes. */
  readonly path: string
  readonly kind: 'run' | 'adapter' | 'model'
}

/** ms-swift puts a run three levels down: `output/<model>/<version and date>/checkpoint-N`. */
const DEPTH = 4
/** A folder that was named by mistake may have a disk below it. */
const MOST_FOLDERS = 1000

/**
 * Runs, adapters and models below a folder that is none itself, in the order of their paths: what the user may have
 * meant. Nothing below a run is looked at; a link within the folder (`latest`) is another name of what has one.
 *
 * @returns those in the first thousand folders, level by level
 */
export async function nestedRuns(folder: string, depth = DEPTH): Promise<NestedRun[]> {
  const found: NestedRun[] = []
  let level = ['']
  let looked = 0
  for (let down = 1; down <= depth && level.length > 0; down++) {
    const next: string[] = []
    for (const above of level) {
      for (const name of await foldersOf(folder, above)) {
        if (++looked > MOST_FOLDERS) return found.sort(byPath)
        const path = posix.join(above, name)
        const kind = kindOf(await list(folder, path))
        if (kind) found.push({ path, kind })
        else next.push(path)
      }
    }
    level = next
  }
  return found.sort(byPath)
}

function kindOf(entries: readonly Dirent[]): NestedRun['kind'] | undefined {
  const names = entries.map(({ name }) => name)
  return names.some((name) => checkpointStep(name) !== undefined) ? 'run' : checkpointKind(fileNames(entries))
}

const byPath = (a: NestedRun, b: NestedRun): number => (a.path < b.path ? -1 : 1)

async function foldersOf(folder: string, above: string): Promise<string[]> {
  const entries = (await list(folder, above)).filter(
    ({ name }) => !STAGING.test(name) && checkpointStep(name) === undefined,
  )
  const names: string[] = []
  for (const entry of entries) {
    const isLink = entry.isSymbolicLink()
    if (entry.isDirectory() || (isLink && (await leadsOut(folder, join(folder, above, entry.name)))))
      names.push(entry.name)
  }
  return names
}

/** To a folder that neither lies in this one nor holds it. */
async function leadsOut(folder: string, link: string): Promise<boolean> {
  const found = await Promise.all([realpath(folder), realpath(link), stat(link)]).catch(() => undefined)
  if (!found?.[2].isDirectory()) return false
  const [outer, target] = [`${found[0]}${sep}`, `${found[1]}${sep}`]
  return !target.startsWith(outer) && !outer.startsWith(target)
}

/** A folder that may not be read, or is gone, holds nothing that could be named. */
function list(folder: string, path: string): Promise<Dirent[]> {
  return readdir(join(folder, path), { withFileTypes: true }).catch(() => [])
}

/** `a (run), b (adapter)`; of many the first. */
export function listRuns(runs: readonly NestedRun[]): string {
  const shown = runs.slice(0, 20).map(({ path, kind }) => `${path} (${kind})`)
  return shown.join(', ') + (runs.length > shown.length ? ` and ${runs.length - shown.length} more` : '')
}
