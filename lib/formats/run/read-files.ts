import { dirname, relative, sep } from 'node:path'
import type { FileHash } from '../files/hash.js'
import { isTensorFile } from '../peft/peft.js'

/** Files under their paths below a run's folder, with slashes on every system: how results name what they were read from. */
export function filesBelow(root: string, files: readonly FileHash[]): FileHash[] {
  const folder = isTensorFile(root) ? dirname(root) : root
  return files.map(({ path, sha256 }) => ({ path: relative(folder, path).split(sep).join('/'), sha256 }))
}
