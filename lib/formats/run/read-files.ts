import { dirname, relative, sep } from 'node:path'
import type { FileHash } from '../files/hash.js'
import { isTensorFile } from '../peft/peft.js'

/** Files under their paths below a run's folder, with slashes on every system: how results name what they were read from. */
export function filesBelow(root: string, files: readonly FileHash[]): FileHash[] {
  const folder = isTensorFile(root) ? dirname(root) : root
  return files.map(({ path, sha256 }) => ({ path: relative(folder, path).split(sep).join('/'), sha256 }))
}

/**
 * `checkpoint-10/adapter_model.safetensors 1a2b3c4d5e6f`: the first file with the beginning of its SHA-256, and how many
 * tensor files there are beside it.
 */
export function fileFact(files: readonly { path: string; sha256?: string }[]): string {
  const [first, ...more] = files
  if (!first) return 'no file'
  const others = more.filter(({ path }) => path.endsWith('.safetensors')).length
  const hash = first.sha256 === undefined ? ' (not hashed)' : ` ${first.sha256.slice(0, 12)}`
  return `${first.path}${hash}${others > 0 ? ` and ${others} more` : ''}`
}
