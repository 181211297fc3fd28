// Builds the addon as a portable build with a second device on loopback (ggml's RPC backend, native/test/rpc_device.h) into
// build-device/app, a copy of what the tests need, and runs there the tests that compute, on that device, and test/device.
//
//   npm run test:device                    all of them (about ten minutes)
//   npm run test:device -- test/lifecycle  these
import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compile } from './build-native.mjs'
import { llamaSource, root } from './llama-source.mjs'
import { runOrExplain, SetupError } from './npm-package.mjs'

const TESTS = [
  'test/device',
  'test/model',
  'test/hidden-states',
  'test/lifecycle',
  'test/trajectory',
  'test/directions',
]
const stage = join(root, 'build-device')
export const app = join(stage, 'app')

/** The package as the tests see it, with the test build where a source build would be. */
export function makeDeviceApp() {
  const raw = join(stage, 'raw')
  runOrExplain(process.execPath, [join(root, 'scripts/build-ts.mjs')], { hint: 'Mend what it says.' })
  const variables = { TRAITSCOPE_LLAMA_CPP: llamaSource(), TRAITSCOPE_TEST_RPC: 'ON', TRAITSCOPE_OUTPUT: raw }
  compile(join(stage, 'cmake'), variables, ['traitscope', 'gpu_suite'])
  const release = join(app, 'build', 'Release')
  rmSync(app, { recursive: true, force: true })
  mkdirSync(release, { recursive: true })
  const wanted =
    /^traitscope\.node$|^rpc_server$|^gpu_suite$|^lib(llama|ggml|ggml-base)\.so\.\d+$|^libggml-(cpu|rpc)\.so$/
  for (const folder of [raw, join(stage, 'cmake'), join(stage, 'cmake', 'bin')]) {
    for (const file of readdirSync(folder).filter((name) => wanted.test(name)))
      copyFileSync(join(folder, file), join(release, file))
  }
  for (const part of [
    'benchmarks',
    'bin',
    'dist',
    'lib',
    'organisms',
    'priors',
    'scripts',
    'test',
    'traits',
    'package.json',
    'vitest.config.ts',
  ])
    cpSync(join(root, part), join(app, part), { recursive: true })
  for (const part of ['node_modules', 'deps']) symlinkSync(join(root, part), join(app, part))
}

function main() {
  makeDeviceApp()
  const asked = process.argv.slice(2)
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const run = spawnSync(process.execPath, [vitest, 'run', ...(asked.length > 0 ? asked : TESTS)], {
    ...{ cwd: app, stdio: 'inherit', env: { ...process.env, TRAITSCOPE_TEST_RPC: '1' } },
  })
  process.exit(run.status ?? 1)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main()
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`traitscope: ${error.message}`)
    process.exit(1)
  }
}
