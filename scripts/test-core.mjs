// Builds native/test/core_test.cpp with AddressSanitizer and UndefinedBehaviorSanitizer and runs it on the tiny model.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { buildFolder, buildNative } from './build-native.mjs'
import { root } from './llama-source.mjs'

buildNative()
const model = process.argv[2] ?? join(root, 'test/fixtures/tiny/base.gguf')
for (const [program, args] of [
  ['cmake', ['--build', buildFolder, '--config', 'Release', '--target', 'core_test', '--parallel', '2']],
  [join(buildFolder, 'core_test'), [model]],
]) {
  const quiet = program === 'cmake'
  const run = spawnSync(program, args, { encoding: 'utf8', stdio: quiet ? 'pipe' : 'inherit' })
  if (run.error) throw run.error
  if (run.status !== 0) {
    if (quiet) console.error(run.stdout, run.stderr)
    process.exit(run.status ?? 1)
  }
}
