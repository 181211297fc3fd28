// Compiles lib/ and bin/ to dist/, and page/ to the script and style of its pages. Runs as npm's `prepare`, so a fresh clone has a working command line after
// `npm install`; a package from the registry ships dist/ and has no TypeScript, so there it does nothing.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPage } from './build-page.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const require = createRequire(import.meta.url)

if (!existsSync(join(root, 'tsconfig.build.json'))) process.exit(0)
let tsc
try {
  tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
} catch {
  if (existsSync(join(root, 'dist'))) process.exit(0)
  console.error('traitscope: TypeScript is not installed; run `npm install` with development dependencies')
  process.exit(1)
}
// Compiled beside dist/ and swapped in, so that a failed or running build never leaves a half-filled dist/.
const fresh = join(root, `build-ts-${process.pid}`)
const run = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh], {
  cwd: root,
  stdio: 'inherit',
})
const built = run.status === 0 && buildPage(root, tsc, join(fresh, 'page'))
if (built) {
  keepPublicDeclarations(fresh)
  chmodSync(join(fresh, 'bin/traitscope.js'), 0o755)
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  renameSync(fresh, join(root, 'dist'))
}
rmSync(fresh, { recursive: true, force: true })
process.exit(built ? 0 : run.status || 1)

/** Declarations are for users of the package: those that none of its entries leads to go. */
function keepPublicDeclarations(folder) {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const kept = new Set()
  const keep = (file) => {
    if (kept.has(file)) return
    kept.add(file)
    for (const [, to] of readFileSync(file, 'utf8').matchAll(/(?:from |import\()['"](\.[^'"]+)\.js['"]/g)) {
      keep(join(dirname(file), `${to}.d.ts`))
    }
  }
  for (const { types } of Object.values(exports)) {
    if (types !== undefined) keep(join(folder, types.replace(/^\.\/dist\//, '')))
  }
  for (const name of readdirSync(folder, { recursive: true })) {
    const file = join(folder, String(name))
    if (file.endsWith('.d.ts') && !kept.has(file)) rmSync(file)
  }
}
