// clang-format over native/ and benchmarks/gpu/: rewrites, or with --check reports files that differ.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from './llama-source.mjs'

const require = createRequire(import.meta.url)
const { clangFormatPath } = require('clang-format-node')
const files = ['native', 'benchmarks/gpu'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((file) => /\.(cpp|h)$/.test(file))
    .map((file) => join(root, folder, file)),
)
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i']
const run = spawnSync(clangFormatPath, [...mode, ...files], { stdio: 'inherit' })
if (run.error) throw run.error
process.exit(run.status ?? 1)
