// Builds the addon from source: llama.cpp, ggml and native/ through CMake into build/Release/traitscope.node.
//
//   npm run build                 CPU kernels for this machine
//   npm run build -- --cuda       with the CUDA backend (needs nvcc)
//   npm run build -- --portable   as the prebuilt packages are: kernels and backends as libraries beside it (ten minutes)
//   npm run build -- --clean      from nothing
//
// `npm install` of a clone runs it as part of `prepare`. In an installed package `traitscope build` runs it: the tools that only
// a build needs are then installed into the cache, at the versions that package.json names.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inClone, LLAMA_CPP, llamaSource, needs, root } from './llama-source.mjs'
import { npmEnvironment, runOrExplain, SetupError } from './npm-package.mjs'

const { version, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
export const buildFolder = join(root, 'build', 'cmake')
/** Of the portable build, which prebuilds are made from too. */
export const portableFolder = join(root, 'build-portable', 'cmake')
export const addonFile = join(root, 'build', 'Release', 'traitscope.node')
const stampFile = join(buildFolder, 'traitscope.stamp')

/** Changes when anything changes that the addon is made from; an equal stamp means there is nothing to do. */
function stamp({ cuda = false, portable = false }) {
  const hash = createHash('sha256').update(
    JSON.stringify([
      ...[version, LLAMA_CPP, process.env.TRAITSCOPE_LLAMA_CPP, { cuda, portable }],
      ...[process.platform, process.arch],
    ]),
  )
  const files = [
    'CMakeLists.txt',
    ...readdirSync(join(root, 'native'), { recursive: true }).map((f) => `native/${f}`),
  ]
  for (const file of files.sort()) {
    if (/\.(txt|cpp|h)$/.test(file)) hash.update(file).update(readFileSync(join(root, file)))
  }
  return hash.digest('hex')
}

function isBuilt(flags) {
  return existsSync(addonFile) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp(flags)
}

/** Notes that the addon is there and made from what lies here now. */
export function markBuilt(flags) {
  mkdirSync(buildFolder, { recursive: true })
  writeFileSync(stampFile, stamp(flags))
}

function checkTools({ cuda }) {
  runOrExplain('cmake', ['--version'], {
    hint: 'Install CMake 3.18 or newer (Debian/Ubuntu: apt-get install cmake; macOS: brew install cmake).',
  })
  const compilers = [process.env.CXX, 'c++', 'g++', 'clang++'].filter(Boolean)
  const found = compilers.some((name) => spawnSync(name.split(' ')[0], ['--version']).status === 0)
  if (!found && process.platform !== 'win32') {
    throw new SetupError(
      'no C++ compiler was found. Install one with C++17 (Debian/Ubuntu: apt-get install g++ make; macOS: xcode-select --install).',
    )
  }
  if (cuda) {
    const nvcc = [process.env.CUDACXX, 'nvcc', '/usr/local/cuda/bin/nvcc'].filter(Boolean)
    if (!nvcc.some((name) => spawnSync(name, ['--version']).status === 0)) {
      throw new SetupError(
        '--cuda needs nvcc, which was not found. Install the CUDA toolkit, put nvcc on the PATH or set CUDACXX.',
      )
    }
  }
}

/** Runs one build step; its output goes to a log beside the build and its first error is shown when it fails. */
function step(folder, name, program, args) {
  const run = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 })
  const output = `${run.stdout ?? ''}${run.stderr ?? ''}`
  const log = join(folder, `${name}.log`)
  writeFileSync(log, output)
  if (run.error) throw new SetupError(`${program} could not be run: ${run.error.message}`)
  if (run.status === 0) return
  const lines = output.split('\n')
  const first = lines.findIndex((line) => /\b(error|FAILED)\b/i.test(line))
  const shown = first < 0 ? lines.slice(-30) : lines.slice(Math.max(0, first - 3), first + 25)
  throw new SetupError(`the native build failed at ${name} (whole log: ${log}):\n${shown.join('\n')}`)
}

const TOOLS = ['cmake-js', 'node-addon-api', 'node-api-headers']

/** A `require` that finds the build's tools: those of the clone, else such as are installed into the cache now. */
function toolsOf() {
  const own = createRequire(import.meta.url)
  if (inClone) return own
  const wanted = TOOLS.map((name) => `${name}@${devDependencies[name]}`)
  const folder = join(needs, `tools-${wanted.join('-').replace(/[^\w.-]/g, '-')}`)
  const cached = createRequire(join(folder, 'package.json'))
  try {
    for (const name of TOOLS) cached.resolve(`${name}/package.json`)
    return cached
  } catch {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    console.error(`traitscope: installing ${wanted.join(', ')} into ${folder}`)
    runOrExplain(
      'npm',
      ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--save-exact', ...wanted],
      {
        cwd: folder,
        env: npmEnvironment(),
        shell: process.platform === 'win32',
        hint: 'Check the network or npm registry settings; the next run continues here.',
      },
    )
    return cached
  }
}

/** Whether a build folder is of sources that lie elsewhere, as in a checkout that was moved or copied: CMake refuses it. */
export function isOfOtherSources(folder) {
  const cache = join(folder, 'CMakeCache.txt')
  if (!existsSync(cache)) return false
  const [, home] = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.+)$/m.exec(readFileSync(cache, 'utf8')) ?? []
  return home !== undefined && !(existsSync(home) && realpathSync(home) === realpathSync(root))
}

/** Configures (cmake-js knows Node's headers) and compiles the addon in `folder`. */
export function compile(folder, variables, targets = ['traitscope']) {
  if (isOfOtherSources(folder)) rmSync(folder, { recursive: true })
  mkdirSync(folder, { recursive: true })
  const tools = toolsOf()
  const cmakeJs = join(dirname(tools.resolve('cmake-js/package.json')), 'bin', 'cmake-js')
  // cmake-js looks for it beside the sources alone.
  const TRAITSCOPE_NODE_ADDON_API = dirname(tools.resolve('node-addon-api/package.json'))
  const defines = Object.entries({ ...variables, TRAITSCOPE_NODE_ADDON_API }).map(
    ([name, value]) => `--CD${name}=${value}`,
  )
  const jobs = Math.max(1, Number(process.env.TRAITSCOPE_BUILD_JOBS) || availableParallelism())
  console.error(`traitscope: building the native engine with ${jobs} jobs (a few minutes the first time)`)
  step(folder, 'configure', process.execPath, [
    ...[cmakeJs, 'configure', '--out', folder, '--config', 'Release', '--log-level', 'warn'],
    ...defines,
  ])
  step(folder, 'build', 'cmake', [
    ...['--build', folder, '--config', 'Release', '--target', ...targets, '--parallel', String(jobs)],
  ])
}

/** Loading is the only test that counts: a build of another machine, or of a Node with another libc, fails here. */
function loads() {
  try {
    createRequire(import.meta.url)(addonFile)
    return true
  } catch {
    return false
  }
}

/** A portable build into `release`: the addon, and each library once, by the name that others link to. */
export function compilePortable(folder, release) {
  const raw = join(folder, 'raw')
  compile(folder, {
    ...{ TRAITSCOPE_LLAMA_CPP: llamaSource(), TRAITSCOPE_CUDA: 'OFF' },
    ...{ TRAITSCOPE_PORTABLE: 'ON', TRAITSCOPE_OUTPUT: raw },
  })
  rmSync(release, { recursive: true, force: true })
  mkdirSync(release, { recursive: true })
  const wanted =
    /^traitscope\.node$|^lib(llama|ggml|ggml-base)\.so\.\d+$|^libggml-cpu-.*\.so$|\.dylib$|\.dll$/
  // llama.cpp puts its libraries into bin/ of the build.
  for (const from of [raw, join(folder, 'bin')]) {
    for (const file of readdirSync(from).filter((name) => wanted.test(name)))
      copyFileSync(join(from, file), join(release, file))
  }
}

/** What an earlier portable build left beside the addon. */
function removeLibraries(release) {
  if (!existsSync(release)) return
  for (const file of readdirSync(release))
    if (!file.endsWith('.node')) rmSync(join(release, file), { recursive: true })
}

const KINDS = [{}, { cuda: true }, { portable: true }]

/**
 * Builds what is not up to date and says whether there was anything to do. Without flags an up-to-date CUDA or portable build
 * counts too: whoever made it wanted it.
 */
export function buildNative({ cuda = false, portable = false, clean = false } = {}) {
  if (cuda && portable)
    throw new SetupError(
      '--cuda and --portable exclude each other: a portable build loads the CUDA backend, `traitscope backend add cuda`.',
    )
  const asked = { cuda, portable }
  const enough = cuda || portable ? [asked] : KINDS
  if (!clean && enough.some(isBuilt)) {
    if (loads()) return false
    clean = true
  }
  checkTools({ cuda })
  const source = llamaSource()
  const folder = portable ? portableFolder : buildFolder
  if (clean) rmSync(folder, { recursive: true, force: true })
  rmSync(stampFile, { force: true })
  if (portable) {
    compilePortable(folder, dirname(addonFile))
  } else {
    removeLibraries(dirname(addonFile))
    compile(folder, { TRAITSCOPE_LLAMA_CPP: source, TRAITSCOPE_CUDA: cuda ? 'ON' : 'OFF' })
  }
  markBuilt(asked)
  return true
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const known = new Set(['--cuda', '--portable', '--clean'])
  const unknown = process.argv.slice(2).filter((arg) => !known.has(arg))
  try {
    if (unknown.length > 0) {
      throw new SetupError(`unknown option ${unknown.join(' ')}; known are ${[...known].join(', ')}.`)
    }
    const built = buildNative({
      cuda: process.argv.includes('--cuda'),
      portable: process.argv.includes('--portable'),
      clean: process.argv.includes('--clean'),
    })
    console.error(built ? `traitscope: built ${addonFile}` : 'traitscope: the native engine is up to date')
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`traitscope: ${error.message}`)
    process.exit(1)
  }
}
