import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { runNode } from '../helpers/child.js'
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
