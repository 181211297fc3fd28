import { readdir, stat } from 'node:fs/promises'
import { join, resolve, sep } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import { realRun } from '../events/state-folder.js'
import { errnoOf, fileError } from '../formats/files/file-errors.js'
import { fileNames, listFolder } from '../formats/files/list-folder.js'
import { checkpointKind } from '../formats/run/checkpoint-folder.js'
import { listRuns, nestedRuns } from '../formats/run/nested-runs.js'
import { checkpointStep } from '../formats/run/step-folders.js'

/** Whether a path stands for several: `*` for any letters of a name, `?` for one. */
export const isPattern = (path: string): boolean => /[*?]/.test(path)

/**
 * The runs that a pattern, or a path, stands for now, in the order of their real paths: folders that hold checkpoints or weights.
 * Hidden ones are left out, and so is what cannot be listed.
 *
 * @param isKnown of a real path: it is left out too, and its folder, which may be long, is not listed
 */
export async function matchingRuns(
  pattern: string,
  isKnown: (run: string) => Promise<boolean> = async () => false,
): Promise<string[]> {
  let found = [resolve('/')]
  for (const part of resolve(pattern).split(sep).filter(Boolean)) {
    const next: string[] = []
    for (const folder of found) {
      if (!isPattern(part)) next.push(join(folder, part))
      else for (const name of await foldersIn(folder)) if (matches(part, name)) next.push(join(folder, name))
    }
    found = next
  }
  const runs = new Set<string>()
  for (const folder of found) {
    if ((await isKnown(await realRun(folder))) || !(await holdsSomething(folder))) continue
    // A link may have led nowhere until now.
    const run = await realRun(folder)
    if (!(await isKnown(run))) runs.add(run)
  }
  return [...runs].sort()
}

function matches(pattern: string, name: string): boolean {
  if (name.startsWith('.') && !pattern.startsWith('.')) return false
  const source = pattern
    .replaceAll(/[^\w*?]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 's').test(name)
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory() || entry.isSymbolicLink()).map(({ name }) => name)
}

async function holdsSomething(folder: string): Promise<boolean> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const isStep = entries.some(({ name }) => checkpointStep(name) !== undefined)
  return isStep || checkpointKind(fileNames(entries)) !== undefined
}

/**
 * Refuses a folder that is no run itself but has some below it, since what comes into them would never be seen from there,
 * and what is no folder. One that does not exist yet, or cannot be read now, is waited for: looks say so.
 *
 * @throws AMBIGUOUS naming the runs; FILE_NOT_FOUND for a file
 */
export async function refuseParent(folder: string): Promise<void> {
  try {
    await refuseOther(folder)
  } catch (error) {
    const mayPass = isTraitscopeError(error, 'FILE_ACCESS') || isTraitscopeError(error, 'FILE_VANISHED')
    if (!mayPass) throw error
  }
}

async function refuseOther(folder: string): Promise<void> {
  const found = await stat(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw fileError(error, folder)
  })
  if (found === undefined) return
  if (!found.isDirectory())
    throw new TraitscopeError('FILE_NOT_FOUND', `expected a folder at ${folder}, found a file`)
  const entries = await listFolder(folder, 'vanished')
  if (await holdsSomething(folder)) return
  const below = await nestedRuns(folder)
  if (entries.length === 0 || !below.some(({ kind }) => kind === 'run')) return
  throw new TraitscopeError(
    'AMBIGUOUS',
    `${folder} holds no checkpoint and no weights of its own, but ${listRuns(below)}: name one of them, or several, e.g. '${join(folder, '*')}'`,
  )
}
