import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { runNode } from '../helpers/child.js'
import { TINY_BASE, TINY_PACK, TINY_RUN } from '../helpers/tiny.js'
import { Workspace } from './workspace.js'

const work = new Workspace()

/** What each example must print on the tiny run. */
const EXPECTED: Record<string, { lines: number; last: RegExp }> = {
  'hidden-states.mjs': { lines: 3, last: /^What should I do .* moved by \d+\.\d+ % of its length$/ },
  'measure-run.mjs': { lines: 6, last: /^step 60: drift 0\.\d{4}, most in [+-]\w+$/ },
  'watch-run.mjs': { lines: 4, last: /^ended: aborted, 2 checkpoints$/ },
}

describe('examples', () => {
  it('should all be tested', () => {
    expect(readdirSync(join(packageRoot, 'examples')).sort()).toEqual(Object.keys(EXPECTED))
  })

  it.each(Object.entries(EXPECTED))('should run %s', async (file, { lines, last }) => {
    const { code, stdout, stderr } = await runNode(join('examples', file), { env: work.env })
    if (code !== 0) throw new Error(stderr)
    const printed = stdout.trimEnd().split('\n')
    expect(printed).toHaveLength(lines)
    expect(printed.at(-1)).toMatch(last)
  })
})

describe('README', () => {
  it('should show code that runs, on another base, layer, pack and run', async () => {
    const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')
    const code = /## From Node\n\n```js\n([\s\S]*?)```/.exec(readme)![1]!
    const here = { "'base.gguf'": TINY_BASE, "'out/'": TINY_RUN, "'core'": TINY_PACK }
    let text = code.replace('layers: [14]', 'layers: [2]')
    for (const [name, path] of Object.entries(here)) {
      expect(text.split(name)).toHaveLength(2)
      text = text.replace(name, JSON.stringify(path))
    }
    mkdirSync(work.path('node_modules'))
    symlinkSync(packageRoot, work.path('node_modules/traitscope'), 'junction')
    const file = work.write('readme.mjs', text)
    const { code: exit, stdout, stderr } = await runNode(relative(packageRoot, file), { env: work.env })
    if (exit !== 0) throw new Error(stderr)
    expect(stdout).toMatch(/^0 0 \[/)
    expect(stdout).toMatch(/^60 0\.\d+ \[/m)
  })
})
