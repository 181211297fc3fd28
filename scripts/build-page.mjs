/**
 * Makes the page's one script and one style sheet: page/ and the modules of lib/report that it shares with Node, compiled,
 * after uPlot. There is no bundler: the modules are few and ours, and each becomes a function that returns its exports.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Script } from 'node:vm'

const require = createRequire(import.meta.url)

/**
 * @param root the repository
 * @param tsc the TypeScript compiler's script
 * @param folder where page.js and page.css go
 * @returns false when it does not compile; the compiler has said why
 */
export function buildPage(root, tsc, folder) {
  const compiled = `${folder}-compiled`
  const run = spawnSync(process.execPath, [tsc, '-p', 'page', '--outDir', compiled], {
    cwd: root,
    stdio: 'inherit',
  })
  if (run.status === 0) {
    const uplot = dirname(require.resolve('uplot'))
    const ours = [...modulesFrom(join(compiled, 'page', 'main.js'))]
    const body = ours.map((file, i) => asFunction(file, i, ours)).join('\n')
    const script = `${readFileSync(join(uplot, 'uPlot.iife.min.js'), 'utf8')}\n(() => {\n'use strict'\n${body}\n})()\n`
    new Script(script, { filename: 'page.js' })
    if (/<\/script|<!--/i.test(script)) throw new Error('expected a script that can stand in a page')
    const style = `${readFileSync(join(uplot, 'uPlot.min.css'), 'utf8').trim()}\n${readFileSync(join(root, 'page', 'page.css'), 'utf8')}`
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'page.js'), script)
    writeFileSync(join(folder, 'page.css'), style)
  }
  rmSync(compiled, { recursive: true, force: true })
  return run.status === 0
}

const IMPORT = /^import\s*(\{[^}]*\})\s*from\s*['"](\.[^'"]+)['"];?$/gm
const EXPORT = /^export (?=(?:async )?(?:function|class|const|let)\b\s*([\w$]+))/gm

const imported = (file, to) => join(dirname(file), to)

/** A module and those that it imports, each behind what it needs. */
function modulesFrom(file, found = new Set()) {
  for (const [, , to] of readFileSync(file, 'utf8').matchAll(IMPORT)) {
    if (!found.has(imported(file, to))) modulesFrom(imported(file, to), found)
  }
  return found.add(file)
}

/** @param modules all of them, in their order */
function asFunction(file, index, modules) {
  const exports = []
  const text = readFileSync(file, 'utf8')
    .replace(/^export \{\};?$/gm, '')
    .replace(IMPORT, (_, names, to) => {
      return `const ${names.replaceAll(' as ', ': ')} = module${modules.indexOf(imported(file, to))}`
    })
    .replace(EXPORT, (_, name) => {
      exports.push(name)
      return ''
    })
  const left = /^(?:import|export)\b.*$/m.exec(text)
  if (left) throw new Error(`expected no other import or export in ${file}, found: ${left[0]}`)
  return `const module${index} = (() => {\n${text.trim()}\nreturn { ${exports.join(', ')} }\n})()`
}
