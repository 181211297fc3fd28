import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { TraitscopeError } from '../errors.js'

// Only what a shared library of a 64-bit little-endian Linux says it needs: the names in its dynamic section.

const PT_LOAD = 1
const PT_DYNAMIC = 2
const DT_NEEDED = 1
const DT_STRTAB = 5
const DT_STRSZ = 10

/**
 * Names of the libraries that a library needs, as it spells them.
 *
 * @throws TraitscopeError FILE_INVALID for what is no shared library of this kind of system
 */
export function neededLibraries(path: string): string[] {
  const fd = openSync(path, 'r')
  const read = (at: number, length: number) => {
    const bytes = Buffer.alloc(length)
    if (length > 2 ** 24 || readSync(fd, bytes, 0, length, at) !== length) throw invalid(path)
    return bytes
  }
  try {
    const header = read(0, 64)
    if (header.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') throw invalid(path)
    const size = header.readUInt16LE(54)
    const count = header.readUInt16LE(56)
    const table = read(offset(header, 32), size * count)
    const segments = Array.from({ length: count }, (_, i) => table.subarray(i * size, (i + 1) * size))
    const dynamic = segments.find((each) => each.readUInt32LE(0) === PT_DYNAMIC)
    if (!dynamic) throw invalid(path)
    const entries = read(offset(dynamic, 8), offset(dynamic, 32))
    const values = (tag: number) =>
      Array.from({ length: Math.floor(entries.length / 16) }, (_, i) => i * 16)
        .filter((at) => offset(entries, at) === tag)
        .map((at) => offset(entries, at + 8))
    const [address = 0] = values(DT_STRTAB)
    const home = segments.find(
      (each) =>
        each.readUInt32LE(0) === PT_LOAD &&
        address >= offset(each, 16) &&
        address < offset(each, 16) + offset(each, 32),
    )
    if (!home) throw invalid(path)
    const strings = read(offset(home, 8) + address - offset(home, 16), values(DT_STRSZ)[0] ?? 0)
    return values(DT_NEEDED).map((at) => strings.toString('utf8', at, strings.indexOf(0, at)))
  } catch (error) {
    throw error instanceof RangeError ? invalid(path) : error
  } finally {
    closeSync(fd)
  }
}

/** A number of 64 bits that is one of JavaScript's, or nonsense. */
const offset = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at))

const invalid = (path: string) =>
  new TraitscopeError('FILE_INVALID', `${path} is no shared library of 64-bit Linux: give a ggml backend`)

/**
 * What to open before a library so that the system's loader searches for nothing on its behalf: everything it needs, those first
 * that others need; from its own folder where it lies there, else by name, from where the system keeps libraries. The published
 * backends have an empty entry in their search path, which means the working directory, before the system's.
 */
export function librariesBefore(path: string): string[] {
  const before: string[] = []
  const visit = (file: string) => {
    for (const name of neededLibraries(file)) {
      const beside = join(dirname(path), name)
      const library = existsSync(beside) ? beside : name
      if (before.includes(library)) continue
      if (library === beside) visit(beside)
      before.push(library)
    }
  }
  visit(path)
  return before
}
