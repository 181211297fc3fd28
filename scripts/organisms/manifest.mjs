import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ORGANISMS } from './places.mjs'

export const MANIFEST = 'manifest.json'
/** Written by hand, and what calibration and the baselines add. */
const OUTSIDE = /^(manifest\.json|demo\.json|README\.md|bundles\/|baselines\/|judge\/)/

const sha256 = (data) => createHash('sha256').update(data).digest('hex')

/** Per folder SHA-256 over lines `<name> <sha256 of the file>`, sorted by name: what `sha256sum` and a sort can check. */
export function hashFolders() {
  const paths = readdirSync(ORGANISMS, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(ORGANISMS.length + 1))
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => !OUTSIDE.test(path))
    .sort()
  const lines = new Map()
  for (const path of paths) {
    const folder = dirname(path)
    const line = `${path.slice(folder === '.' ? 0 : folder.length + 1)} ${sha256(readFileSync(join(ORGANISMS, path)))}\n`
    lines.set(folder, (lines.get(folder) ?? '') + line)
  }
  return Object.fromEntries([...lines].map(([folder, text]) => [folder, sha256(text)]))
}

export function writeManifest() {
  writeFileSync(join(ORGANISMS, MANIFEST), `${JSON.stringify({ folders: hashFolders() }, null, 1)}\n`)
}
