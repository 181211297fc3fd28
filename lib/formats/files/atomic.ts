import { randomBytes } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import {
  access,
  constants,
  cp,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
} from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { errnoOf, fileError } from './file-errors.js'
import { exists } from './file-stats.js'
import { checkNamed } from './named-path.js'
import { ownerTag } from './owner.js'

export interface WriteOptions {
  /** Replace what is already there. */
  force?: boolean
}

export interface FileOptions extends WriteOptions {
  /** Called with the temporary name of what was written, before it takes its own; when it throws, nothing stays behind. */
  check?: ((temporary: string) => Promise<void>) | undefined
}

export interface PublishOptions extends WriteOptions {
  /**
   * A file name (such as `directions.json`) that an existing folder must contain before `force` may replace it, so that
   * a mistyped output path never deletes somebody's folder.
   */
  marker?: string
  /** Names of what others put into the folder: it stays there, and does not make the name taken. */
  keep?: RegExp
  /** Files and folders that are read for it: of a file nothing, of a folder no data is replaced, `force` or not. */
  inputs?: readonly (string | undefined)[]
}

/**
 * Writes a file so that readers see the old content, the new content or nothing, never a part: temporary file beside
 * the name, fsync, rename. Missing parent folders are made. A failed write leaves nothing behind. A link stays a link: the file
 * that it leads to is replaced.
 *
 * @throws FILE_EXISTS when the name is taken and `force` is not set, is a folder's, a device's or a dead link's, or lies below a
 * file; FILE_ACCESS; what the data's source throws, as it is
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array | AsyncIterable<Uint8Array>,
  options: FileOptions = {},
): Promise<void> {
  checkNamed(path, 'an output')
  const target = await fileTarget(path, options)
  const parents = await makeParents(target)
  const temporary = besideName(target)
  try {
    await writeSynced(temporary, data).catch((error) => {
      throw writeError(error, temporary)
    })
    await options.check?.(temporary)
    const publish = options.force ? rename(temporary, target) : renameWithoutReplacing(temporary, target)
    await publish.catch((error) => {
      throw fileError(error, dirname(target))
    })
  } catch (error) {
    await rm(temporary, { force: true })
    await parents.remove()
    throw error
  }
  await rm(temporary, { force: true }) // the other name of a hard link
  await syncFolder(dirname(target))
}

/**
 * Publishes a folder as one unit: `writer` fills a temporary sibling, which then takes the name. When `writer` fails,
 * the name is untouched. An existing empty folder counts as free, and missing parent folders are made.
 *
 * @throws FILE_EXISTS when the name is taken and `force` is not set, holds something other than our output, or lies below
 * a file; FILE_ACCESS; what `writer` throws, as it is
 */
export async function publishFolder(
  path: string,
  writer: (folder: string) => Promise<void>,
  options: PublishOptions = {},
): Promise<void> {
  checkNamed(path, 'an output')
  const target = await folderTarget(path)
  const occupied = await isOccupied(target, options)
  const parents = await makeParents(target)
  const temporary = besideName(target)
  try {
    await mkdir(temporary).catch((error) => {
      throw fileError(error, dirname(target))
    })
    await writer(temporary).catch((error) => {
      throw writeError(error, temporary)
    })
    if (occupied && options.keep) await keepIn(temporary, target, options.keep)
    await takeName(temporary, target, occupied)
  } catch (error) {
    await rm(temporary, { force: true, recursive: true })
    await parents.remove()
    throw error
  }
  await syncFolder(dirname(target))
}

/** Linked, so that whoever writes to a file meanwhile writes to the same one; folders are copied. */
async function keepIn(temporary: string, target: string, keep: RegExp): Promise<void> {
  for (const name of (await readdir(target)).filter((name) => keep.test(name))) {
    const [from, to] = [join(target, name), join(temporary, name)]
    await link(from, to).catch(() => cp(from, to, { recursive: true, preserveTimestamps: true }))
  }
}

async function takeName(temporary: string, target: string, occupied: boolean): Promise<void> {
  try {
    await syncTree(temporary)
    if (occupied) await swapFolders(temporary, target)
    else await rename(temporary, target)
  } catch (error) {
    if (errnoOf(error) === 'ENOTEMPTY' || errnoOf(error) === 'EEXIST') throw existsError(target)
    throw fileError(error, dirname(target))
  }
}

/** A link to a folder stays a link: what it leads to is replaced. */
async function folderTarget(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path))
}

const NO_ROOM = ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS']

/** An error of the file system about what is being written as ours; all others, such as a callback's, as they are. */
function writeError(error: unknown, temporary: string): unknown {
  const path = typeof error === 'object' && error !== null && 'path' in error ? error.path : undefined
  const ours = typeof path === 'string' ? path.startsWith(temporary) : NO_ROOM.includes(errnoOf(error) ?? '')
  return ours ? fileError(error, dirname(temporary)) : error
}

/**
 * Fails early when a later {@link writeFileAtomic} or {@link publishFolder} would: call it before minutes of work.
 *
 * @throws FILE_EXISTS when the name is taken and `force` is not set, FILE_ACCESS when nothing can be written there
 */
export async function checkOutputFree(path: string, options: PublishOptions = {}): Promise<void> {
  checkNamed(path, 'an output')
  const isFile = options.marker === undefined
  const target = isFile ? await fileTarget(path, options) : await folderTarget(path)
  if (isFile) await refuseInputs(target, options.inputs ?? [])
  else await isOccupied(target, options)
  await refuseUnwritable(dirname(target))
}

async function refuseUnwritable(folder: string): Promise<void> {
  let parent = folder
  while (!(await exists(parent)) && dirname(parent) !== parent) parent = dirname(parent)
  try {
    if (!(await stat(parent)).isDirectory()) throw belowFile(parent)
    await access(parent, constants.W_OK)
  } catch (error) {
    throw fileError(error, parent)
  }
}

/**
 * A folder, with those above it.
 *
 * @returns the first that was made
 * @throws as `mkdir`, and FILE_ACCESS where nothing can be written: Node calls a read-only file system one where nothing is
 */
export async function makeFolder(folder: string): Promise<string | undefined> {
  try {
    return await mkdir(folder, { recursive: true })
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') await refuseUnwritable(resolve(folder))
    throw error
  }
}

function belowFile(path: string): TraitscopeError {
  return new TraitscopeError('FILE_EXISTS', `expected a folder at ${path}, found a file; choose another name`)
}

/** Where a file goes: its name, or what a link of that name leads to. */
async function fileTarget(path: string, { force }: WriteOptions): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  const is = found ?? (await lstat(path).catch(() => undefined))
  if (is === undefined && !/[\\/]$/.test(path)) return resolve(path)
  if (is === undefined || is.isDirectory()) {
    const what = is === undefined ? "a folder's" : 'the folder'
    throw new TraitscopeError(
      'FILE_EXISTS',
      `expected a name for a file, found ${what} ${path}; name a file in it`,
    )
  }
  if (!is.isFile()) {
    const what = is.isSymbolicLink() ? 'a link that leads nowhere' : 'a device, pipe or socket'
    throw new TraitscopeError(
      'FILE_EXISTS',
      `expected a name for a file, found ${what} at ${path}; it was left alone, choose another name`,
    )
  }
  if (!force) throw existsError(path)
  return realpath(path)
}

/** What programs read; a page or a table in the same folder is an earlier output. */
const DATA = /\.(jsonl?|safetensors|bin|gz)$/i

async function refuseInputs(target: string, inputs: readonly (string | undefined)[]): Promise<void> {
  if (!(await exists(target))) return
  for (const input of inputs) {
    const inside = input === undefined ? '..' : relative(await realpath(input).catch(() => input), target)
    const isBelow = inside.split(/[\\/]/)[0] !== '..' && !isAbsolute(inside)
    if (!isBelow || (inside !== '' && !DATA.test(target))) continue
    const where = inside === '' ? '' : `, data in a folder that is read (${input})`
    throw new TraitscopeError(
      'FILE_EXISTS',
      `expected another file for the result than what it is made of, found ${target}${where}; it was left alone, choose another name`,
    )
  }
}

/** Makes the folders above a path; `remove` takes those away again that it made, as far as they are empty. */
async function makeParents(path: string): Promise<{ remove: () => Promise<void> }> {
  const parent = dirname(resolve(path))
  let first: string | undefined
  try {
    first = await makeFolder(parent)
  } catch (error) {
    if (errnoOf(error) === 'EEXIST' || errnoOf(error) === 'ENOTDIR') throw belowFile(parent)
    throw fileError(error, parent)
  }
  const remove = async () => {
    if (first === undefined) return
    for (let folder = parent; ; folder = dirname(folder)) {
      const removed = await rmdir(folder).then(
        () => true,
        () => false,
      )
      if (!removed || folder === first) return
    }
  }
  return { remove }
}

/** Hidden, on the same file system as the target, and never the name of another writer's temporary file. */
function besideName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${ownerTag()}-${randomBytes(6).toString('hex')}.tmp`)
}

function existsError(path: string): TraitscopeError {
  return new TraitscopeError('FILE_EXISTS', `${path} already exists; choose another name or pass --force`)
}

async function isOccupied(target: string, options: PublishOptions): Promise<boolean> {
  let names: string[]
  try {
    names = await readdir(target)
  } catch (error) {
    const found = await lstat(target).catch(() => undefined)
    if (errnoOf(error) === 'ENOENT' && found === undefined) return false
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw fileError(error, target)
    if (found === undefined) throw belowFile(dirname(target))
    const what = found.isSymbolicLink() ? 'a link that leads nowhere' : 'a file'
    throw new TraitscopeError(
      'FILE_EXISTS',
      `expected a name for a folder, found ${what} at ${target}; it was left alone, choose another name`,
    )
  }
  if (names.length === 0) return false
  const taken = options.keep ? names.filter((name) => !options.keep!.test(name)) : names
  if (taken.length === 0) return true
  if (!options.force) throw existsError(target)
  if (options.marker !== undefined && !names.includes(options.marker)) {
    throw new TraitscopeError(
      'FILE_EXISTS',
      `expected ${target} to be an earlier output with ${options.marker}, found other files; it was left alone, choose another folder`,
    )
  }
  return true
}

async function writeSynced(
  path: string,
  data: string | Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const handle = await open(path, 'wx')
  try {
    if (typeof data === 'string') await handle.writeFile(data, 'utf8')
    else if (data instanceof Uint8Array) await writeAll(handle, data)
    else for await (const chunk of data) await writeAll(handle, chunk)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, Math.min(bytes.length - done, 1 << 28))).bytesWritten
  }
}

/** A hard link fails when the name exists, which makes "do not overwrite" atomic; rename would replace silently. */
async function renameWithoutReplacing(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw existsError(to)
    // Some file systems (FAT, some network mounts) have no hard links.
    if (await exists(to)) throw existsError(to)
    await rename(from, to)
  }
}

async function swapFolders(fresh: string, target: string): Promise<void> {
  const old = besideName(target)
  await rename(target, old)
  try {
    await rename(fresh, target)
  } catch (error) {
    await rename(old, target)
    throw error
  }
  await rm(old, { recursive: true, force: true })
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await syncTree(path)
    else if (entry.isFile()) {
      const handle = await open(path, 'r+')
      await handle.sync().finally(() => handle.close())
    }
  }
  await syncFolder(folder)
}

/** Makes a rename durable where the platform can sync folders (not Windows); elsewhere there is nothing to do. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    await handle.sync().finally(() => handle.close())
  } catch {
    // The data itself is synced already; only the crash-safety of the name is lost.
  }
}
