import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ifThere } from '../formats/files/file-errors.js'
import { sha256 } from '../formats/files/hash.js'
import { listFolder } from '../formats/files/list-folder.js'
import { namedPath } from '../formats/files/named-path.js'
import { EventReader } from './event-log.js'

/** A run that was watched, and where its state is. */
export interface WatchedRun {
  /** The run's folder. */
  run: string
  /** The folder with its `events.jsonl`. */
  folder: string
}

/**
 * Where the state of a run's watch is: a folder per run, named after it. A run that moves is another one.
 *
 * @param stateDir the folder of all states, e.g. `defaultStateDir()`
 */
export async function runState(stateDir: string, runDir: string): Promise<WatchedRun> {
  const run = await realRun(runDir)
  const name = basename(run)
    .replaceAll(/[^\w.-]/g, '_')
    .slice(0, 60)
  return {
    run,
    folder: join(
      namedPath(stateDir, 'the states of watches'),
      'watch',
      `${name}-${sha256(run).slice(0, 16)}`,
    ),
  }
}

/** What a run is known by: its folder's path with all links followed, as far as it exists. */
export const realRun = (runDir: string): Promise<string> => realPath(namedPath(runDir, 'a run'))

/** Every run whose watch has left a state, by the run's path; of a log that cannot be read, by its own. @throws FILE_ACCESS */
export async function listStates(stateDir: string): Promise<WatchedRun[]> {
  return listStatesAgain(stateDir, new Map())
}

/**
 * {@link listStates} for whoever lists them again and again.
 *
 * @param known runs that were found before, by their states' folders, which are named after them: their logs are not read again.
 * What is found now is added
 */
export async function listStatesAgain(stateDir: string, known: Map<string, string>): Promise<WatchedRun[]> {
  const parent = join(namedPath(stateDir, 'the states of watches'), 'watch')
  const found: WatchedRun[] = []
  const entries = (await ifThere(listFolder(parent, 'absent'))) ?? []
  for (const { name } of entries.filter((entry) => !entry.isFile())) {
    const folder = join(parent, name)
    const run = known.get(folder) ?? (await firstRun(folder))
    if (run === undefined) continue
    if (run !== folder) known.set(folder, run)
    found.push({ run, folder })
  }
  return found.sort((a, b) => (a.run < b.run ? -1 : 1))
}

/** Enough for a first event of few layers; no more is wanted of a log. */
const PIECE_BYTES = 1 << 14

/** A log that is empty names no run. One that cannot be read is known by its folder, so that whoever reads it says why. */
async function firstRun(folder: string): Promise<string | undefined> {
  try {
    const [first] = await new EventReader(folder, PIECE_BYTES).next()
    return first?.run
  } catch {
    return folder
  }
}

/** With the links of what is there followed, and the rest as it was named. */
async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch {
    const parent = dirname(path)
    return parent === path ? path : join(await realPath(parent), basename(path))
  }
}
