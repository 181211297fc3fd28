import { spawnSync } from 'node:child_process'
import { expect } from 'vitest'
import { packageRoot } from '../../lib/package.js'

// Claims and page need nothing but Python itself.
export const python = process.env.TRAITSCOPE_PYTHON ?? 'python3'
export const there =
  spawnSync(python, ['-c', 'import sys; sys.exit(sys.version_info < (3, 10))']).status === 0
if (!there)
  console.log(
    'skipped: the claims on real models; there is no python3 of 3.10 or later, and TRAITSCOPE_PYTHON names none',
  )

/** The value of an expression, of which `json` has to be able to speak. */
export function py(expression: string, from = 'stats'): unknown {
  const code = `import json, sys; from pathlib import Path; from lab.real import ${from}; print(json.dumps(${expression}))`
  const { stdout, stderr, status } = spawnSync(python, ['-c', code], { cwd: packageRoot, encoding: 'utf8' })
  expect(status, stderr).toBe(0)
  return JSON.parse(stdout)
}
