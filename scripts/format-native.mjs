// clang-format over native/: rewrites, or with --check reports files that differ.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from './llama-source.mjs'

const require = createRequire(import.meta.url)
const { getClangFormatPath } = require('clang-format-node')
const binary = typeof getClangFormatPath === 'function' ? getClangFormatPath() : 'clang-format'
const files = readdirSync(join(root, 'native'), { recursive: true })
  .filter((file) => /\.(cpp|h)$/.test(file))
  .map((file) => join(root, 'native', file))
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i']
const run = spawnSync(binary, [...mode, ...files], { stdio: 'inherit' })
if (run.error) throw run.error
process.exit(run.status ?? 1)
