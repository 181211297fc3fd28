import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ORGANISMS } from './places.mjs'

export const MANIFEST = 'manifest.json'
/** Written by hand, and what calibration and the baselines add. */
const OUTSIDE = /^(manifest\.json|demo\.json|README\.md|bundles\/|baselines\/)/

/** SHA-256 of every packed file, by path. */
export function hashFiles() {
  const paths = readdirSync(ORGANISMS, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(ORGANISMS.length + 1))
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => !OUTSIDE.test(path))
    .sort()
  return Object.fromEntries(
    paths.map((path) => [
      path,
      createHash('sha256')
        .update(readFileSync(join(ORGANISMS, path)))
        .digest('hex'),
    ]),
  )
}

export function writeManifest() {
  writeFileSync(
    join(ORGANISMS, MANIFEST),
    `${JSON.stringify({ files: hashFiles() }, null, 0).replaceAll('","', '",\n"')}\n`,
  )
}
