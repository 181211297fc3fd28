import { readFileSync, readlinkSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { errnoOf } from './file-errors.js'
import { sha256 } from './hash.js'

/** What another machine or container has left may still be used: nobody here can tell, until it is old. */
const STALE_MS = 24 * 3600 * 1000

/** Numbers of processes mean something within one boot of one machine, and in one container. */
const here = sha256(
  [
    hostname(),
    quietly(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')),
    quietly(() => readlinkSync('/proc/self/ns/pid')),
  ].join(),
).slice(0, 8)

function quietly(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}

/** Part of the name of a temporary file or folder: which process it belongs to. */
export const ownerTag = (): string => `${here}-${process.pid}`

/** `checkpoint-<tag>-...`, a scratch folder, and `.<name>.<tag>-....tmp`, what was to take a name. */
const TEMPORARY = /^(?:checkpoint-|\..+\.)([0-9a-f]{8})-(\d+)-\w+(?:\.tmp)?$/

/**
 * Removes the temporary files and folders that killed processes have left in a folder of ours. What cannot be removed, and what
 * may belong to a living process, stays.
 *
 * @param only of the names, e.g. those of one output
 */
export async function sweepAbandoned(
  folder: string,
  only: (name: string) => boolean = () => true,
): Promise<void> {
  for (const name of await readdir(folder).catch((): string[] => [])) {
    const [, tag, pid] = TEMPORARY.exec(name) ?? []
    if (pid === undefined || !only(name)) continue
    const path = join(folder, name)
    const isOver = tag === here ? !isAlive(Number(pid)) : await isOld(path)
    if (isOver) await rm(path, { recursive: true, force: true }).catch(() => {})
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return errnoOf(error) !== 'ESRCH'
  }
}

async function isOld(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined)
  return info !== undefined && Date.now() - info.mtimeMs > STALE_MS
}
