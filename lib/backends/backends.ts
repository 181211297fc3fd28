import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { TraitscopeError } from '../errors.js'
import { defaultCacheDir } from '../formats/files/cache-dir.js'
import { packageRoot } from '../package.js'
import { PUBLISHED, type PublishedBackend } from './published.js'

/** A ggml backend as a library, and how it came to be loaded. */
export interface BackendFile {
  /** `vulkan`, `cuda`; the variable's name for one that TRAITSCOPE_BACKEND names. */
  name: string
  path: string
}

/** Set to the absolute path of a ggml backend, it is loaded beside those that were added. */
const BACKEND_VARIABLE = 'TRAITSCOPE_BACKEND'

const PLATFORM = `${process.platform}-${process.arch}`

/** @throws TraitscopeError UNSUPPORTED with the names that there are */
export function publishedBackend(name: string, platform: string = PLATFORM): PublishedBackend {
  const found = PUBLISHED.find((each) => each.name === name && each.platform === platform)
  if (found) return found
  const names = PUBLISHED.filter((each) => each.platform === platform).map((each) => each.name)
  const known = names.length > 0 ? `there are ${names.join(' and ')}` : 'there is none for this platform'
  throw new TraitscopeError(
    'UNSUPPORTED',
    `no backend ${name} is published for ${platform}: ${known}; ${BACKEND_VARIABLE} takes the absolute path of any other`,
  )
}

const root = (cacheDir: string) => join(cacheDir, 'backends')

/** By package and version: one of another llama.cpp is another folder, and not loaded. */
const folderOf = (backend: PublishedBackend, cacheDir: string) =>
  join(root(cacheDir), backend.file.replace(/\.tgz$/, ''))

/** Where an added backend lies; undefined where it is not. */
export function addedFile(backend: PublishedBackend, cacheDir = defaultCacheDir()): string | undefined {
  const file = join(folderOf(backend, cacheDir), backend.libraries[0])
  return existsSync(file) ? file : undefined
}

/** What is to be loaded: the one that the environment names, and those that were added. */
export function backendFiles(
  env: NodeJS.ProcessEnv = process.env,
  cacheDir = defaultCacheDir(env),
): { named?: BackendFile; added: BackendFile[] } {
  // A relative folder would be one of the working directory, whose files nobody asked for.
  const added = isAbsolute(cacheDir)
    ? PUBLISHED.filter((each) => each.platform === PLATFORM).flatMap((each) => {
        const path = addedFile(each, cacheDir)
        return path === undefined ? [] : [{ name: each.name, path }]
      })
    : []
  const path = env[BACKEND_VARIABLE]
  if (!path) return { added }
  if (!isAbsolute(path))
    throw new TraitscopeError(
      'USAGE',
      `${BACKEND_VARIABLE} is ${path}, expected an absolute path: give that of the library, or unset it`,
    )
  if (!existsSync(path))
    throw new TraitscopeError('FILE_NOT_FOUND', `${path}, which ${BACKEND_VARIABLE} names, does not exist`)
  return { named: { name: BACKEND_VARIABLE, path }, added: added.filter((each) => each.path !== path) }
}

/** What scripts/npm-package.mjs exports: it also serves a checkout that has nothing compiled yet. */
interface NpmPackage {
  fetchPackage(
    pinned: { spec: string; file: string; integrity: string; what: string },
    folder: string,
    hint: string,
  ): string
  tarEntry(tar: Buffer, name: string): Buffer | undefined
  SetupError: new () => Error
}

/**
 * Fetches a published backend with npm, checks it and puts its libraries into the cache.
 *
 * @returns the library
 * @throws TraitscopeError DOWNLOAD when it cannot be had, or is not what was published
 */
export async function addBackend(backend: PublishedBackend, cacheDir = defaultCacheDir()): Promise<string> {
  if (!isAbsolute(cacheDir))
    throw new TraitscopeError(
      'USAGE',
      `the cache is ${cacheDir}, expected an absolute path: set XDG_CACHE_HOME to one`,
    )
  const there = addedFile(backend, cacheDir)
  if (there) return there
  const npm: NpmPackage = await import(pathToFileURL(join(packageRoot, 'scripts', 'npm-package.mjs')).href)
  const fresh = `${folderOf(backend, cacheDir)}.${process.pid}`
  const what = `${backend.spec} (${mib(backend.downloadBytes)})`
  try {
    await mkdir(fresh, { recursive: true })
    const tarball = npm.fetchPackage(
      { ...backend, what },
      fresh,
      'Check the network or npm registry settings.',
    )
    const tar = await promisify(gunzip)(await readFile(tarball))
    for (const name of backend.libraries) {
      const bytes = npm.tarEntry(tar, backend.folder + name)
      if (!bytes) throw new TraitscopeError('INTERNAL', `${backend.spec} holds no ${backend.folder}${name}`)
      await writeFile(join(fresh, name), bytes)
    }
    await rm(tarball)
    await rm(folderOf(backend, cacheDir), { recursive: true, force: true })
    await rename(fresh, folderOf(backend, cacheDir))
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    if (error instanceof npm.SetupError)
      throw new TraitscopeError('DOWNLOAD', error.message, { cause: error })
    throw error
  }
  return addedFile(backend, cacheDir)!
}

/** Deletes an added backend, of whatever version. @returns how many bytes that freed; 0 where there was none */
export async function removeBackend(
  backend: PublishedBackend,
  cacheDir = defaultCacheDir(),
): Promise<number> {
  const prefix = backend.file.replace(/[\d.]+\.tgz$/, '')
  const folders = keptFolders(cacheDir).filter((name) => /^[\d.]+$/.test(name.replace(prefix, '')))
  let bytes = 0
  for (const name of folders) {
    const folder = join(root(cacheDir), name)
    for (const file of readdirSync(folder)) bytes += statSync(join(folder, file)).size
    await rm(folder, { recursive: true, force: true })
  }
  return bytes
}

/** Folders of added backends, also of those that another version of this package added. */
export function keptFolders(cacheDir = defaultCacheDir()): string[] {
  const folder = root(cacheDir)
  return existsSync(folder) ? readdirSync(folder).sort() : []
}

export const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`
