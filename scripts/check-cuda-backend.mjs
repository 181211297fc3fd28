// The published CUDA backend without a GPU: is every symbol that it needs to be had, and does the portable addon load it? With the
// CUDA runtime and cuBLAS from PyPI, and a stand-in for the driver that has no device:
//
//   npm run build -- --portable    or npm run prebuildify
//   pip download --no-deps nvidia-cuda-runtime nvidia-cublas, and unpack both wheels into one folder
//   node scripts/check-cuda-backend.mjs FOLDER/nvidia/cu13/lib
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { addBackend, publishedBackend } from '../dist/lib/backends/backends.js'
import { root } from './llama-source.mjs'
import { runOrExplain, SetupError } from './npm-package.mjs'
import { releases } from './packages.mjs'

const binutils = { hint: 'It is part of binutils.', maxBuffer: 1 << 28 }

/** Names of a library's dynamic symbols, without their versions; `flag` is nm's. */
function symbols(file, flag) {
  return runOrExplain('nm', ['-D', flag, '--format=posix', file], binutils)
    .split('\n')
    .filter((line) => flag !== '--undefined-only' || / U/.test(line))
    .map((line) => line.split(/[ @]/)[0])
    .filter(Boolean)
}

/** The portable addon's folder: of a local build, else of the platform's package. */
function portable() {
  const platform = `${process.platform}-${process.arch}`
  const folders = [join(root, 'build', 'Release'), join(releases, platform, 'prebuilds', platform)]
  const found = folders.find((folder) => existsSync(join(folder, 'libggml-base.so.0')))
  if (!found)
    throw new SetupError('there is no portable build: `npm run build -- --portable` or `npm run prebuildify`')
  return found
}

async function main([cuda]) {
  if (!cuda) throw new SetupError('give the folder with libcudart.so.13 and libcublas.so.13')
  const work = mkdtempSync(join(tmpdir(), 'traitscope-cuda-'))
  try {
    await check(resolve(cuda), work, portable())
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function check(cuda, work, addonFolder) {
  const backend = publishedBackend('cuda')
  const library = await addBackend(backend, work)
  const undefinedSymbols = symbols(library, '--undefined-only')
  const system = ['libc.so.6', 'libm.so.6', 'libstdc++.so.6', 'libgcc_s.so.1', 'ld-linux-x86-64.so.2'].map(
    (name) => runOrExplain('cc', [`-print-file-name=${name}`], { hint: 'Install a C compiler.' }).trim(),
  )
  const providers = {
    'our libggml-base.so.0': [join(addonFolder, 'libggml-base.so.0')],
    'CUDA runtime and cuBLAS': ['libcudart.so.13', 'libcublas.so.13'].map((name) => join(cuda, name)),
    'the C and C++ libraries': system,
  }
  const left = new Set(undefinedSymbols)
  const table = {}
  for (const [name, files] of Object.entries(providers)) {
    const before = left.size
    for (const symbol of files.flatMap((file) => symbols(file, '--defined-only'))) left.delete(symbol)
    table[name] = before - left.size
  }
  const driver = [...left].filter((name) => /^cu[A-Z]/.test(name))
  const optional = [...left].filter((name) => /^(_ITM_|__gmon_start__|__cxa_finalize)/.test(name))
  const missing = [...left].filter((name) => !driver.includes(name) && !optional.includes(name))
  console.table({
    ...table,
    "NVIDIA's driver": driver.length,
    'weak, needed by nobody': optional.length,
    missing: missing.length,
  })
  if (missing.length > 0) throw new SetupError(`nobody has ${missing.join(', ')}`)

  const stub = join(work, 'driver')
  mkdirSync(stub)
  const noDevice = driver.map((name) => `int ${name}(void) { return 100; }`).join('\n') // CUDA_ERROR_NO_DEVICE
  writeFileSync(join(stub, 'driver.c'), `${noDevice}\n`)
  const args = [
    '-shared',
    '-fPIC',
    '-w',
    '-Wl,-soname,libcuda.so.1',
    '-o',
    join(stub, 'libcuda.so.1'),
    join(stub, 'driver.c'),
  ]
  runOrExplain('cc', args, { hint: 'Install a C compiler.' })
  const load = `
    const addon = require(${JSON.stringify(join(addonFolder, 'traitscope.node'))})
    addon.loadBackends(${JSON.stringify(addonFolder)})
    const { librariesBefore } = require(${JSON.stringify(join(root, 'dist/lib/backends/elf.js'))})
    addon.openLibraries(librariesBefore(${JSON.stringify(library)}))
    addon.loadBackend(${JSON.stringify(library)})
    console.log(JSON.stringify({ devices: addon.devices().map(({ name }) => name), switches: addon.precision() }))`
  const env = { ...process.env, LD_LIBRARY_PATH: `${stub}:${cuda}` }
  const run = spawnSync(process.execPath, ['-e', load], { encoding: 'utf8', env, cwd: work })
  if (run.status !== 0)
    throw new SetupError(`it was not loaded (${run.signal ?? run.status}):\n${run.stderr}`)
  console.log(`loaded, with a driver that has no device: ${run.stdout.trim()}`)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(`traitscope: ${error.message}`)
  process.exit(1)
}
