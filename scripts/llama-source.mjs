// Makes the pinned llama.cpp source available, in deps/ of a clone or in the cache of whoever builds in an installed package, and
// returns its folder.
//
// The source travels inside an npm tarball as a git bundle. Every step leaves a checked file behind: a run that is cut
// off continues where it stopped, and once fetched nothing is downloaded again.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { fetchPackage, runOrExplain, SetupError, tarEntry } from './npm-package.mjs'

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
  spec: 'node-llama-cpp@3.22.1',
  file: 'node-llama-cpp-3.22.1.tgz',
  integrity:
    'sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==',
  what: 'the llama.cpp v0.5.0 source (34 MB)',
  bundle: 'package/llama/gitRelease.bundle',
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
  const tarball = fetchPackage(
    LLAMA_CPP,
    deps,
    'Check the network or npm registry settings, or point TRAITSCOPE_LLAMA_CPP to a llama.cpp checkout; the next run continues here.',
  )
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
