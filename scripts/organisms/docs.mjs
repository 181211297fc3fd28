// Fills the marked places of docs/organisms.md and the pictures of docs/organisms/ from what is packaged in
// organisms/. With --check nothing is written, and the exit code is 1 when something would change.
//
//   node scripts/organisms/docs.mjs [--check]
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { filled } from './fill-page.mjs'
import { loadOrganisms } from './packaged.mjs'
import { pictures } from './pictures.mjs'
import { list } from './places.mjs'
import { steeringBlocks } from './steering-tables.mjs'
import { blocks } from './tables.mjs'

const check = process.argv.includes('--check')
const page = fileURLToPath(new URL('../../docs/organisms.md', import.meta.url))
const folder = fileURLToPath(new URL('../../docs/organisms', import.meta.url))

const organisms = await loadOrganisms()
const files = new Map(Object.entries(pictures(organisms)).map(([name, svg]) => [join(folder, name), svg]))
files.set(page, filled(page, { ...blocks(organisms), ...steeringBlocks() }))

const stale = list(folder)
  .map((name) => join(folder, name))
  .filter((path) => !files.has(path))
const changed = [...files].filter(
  ([path, content]) => !existsSync(path) || readFileSync(path, 'utf8') !== content,
)
if (check) {
  for (const path of [...changed.map(([path]) => path), ...stale])
    console.error(`${path} is not what organisms/ gives`)
  process.exitCode = changed.length + stale.length > 0 ? 1 : 0
} else {
  mkdirSync(folder, { recursive: true })
  for (const [path, content] of changed) writeFileSync(path, content)
  for (const path of stale) rmSync(path)
}
