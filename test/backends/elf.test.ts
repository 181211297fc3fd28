import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { librariesBefore, neededLibraries } from '../../lib/backends/elf.js'
import { packageRoot } from '../../lib/package.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-elf-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Compiles a library that needs those others of the folder. */
function library(name: string, needed: string[] = []): string {
  const path = join(folder, name)
  const source = join(folder, `${name}.c`)
  writeFileSync(source, 'int nothing(void) { return 0; }\n')
  const links = ['-Wl,--no-as-needed', '-L', folder, ...needed.map((each) => `-l:${each}`)]
  const made = spawnSync('cc', ['-shared', '-fPIC', `-Wl,-soname,${name}`, '-o', path, source, ...links], {
    encoding: 'utf8',
  })
  if (made.status !== 0) throw new Error(made.stderr)
  return path
}

describe.runIf(process.platform === 'linux')('neededLibraries', () => {
  it('should name what the system would look for', () => {
    const names = neededLibraries(join(packageRoot, 'build/Release/traitscope.node'))
    expect(names).toContain('libc.so.6')
    library('libother.so')
    expect(neededLibraries(library('libone.so', ['libother.so']))).toEqual(['libother.so', 'libc.so.6'])
  })

  it('should refuse what is no library, and one that is cut off anywhere in its head', () => {
    const path = join(folder, 'cut.so')
    const whole = readFileSync(library('libwhole.so'))
    for (const bytes of [
      Buffer.from('no library'),
      Buffer.alloc(0),
      ...[5, 40, 64, 100, 300].map((n) => whole.subarray(0, n)),
    ]) {
      writeFileSync(path, bytes)
      expect(() => neededLibraries(path)).toThrow(expect.objectContaining({ code: 'FILE_INVALID' }))
    }
  })

  it('should refuse counts and offsets that lead out of the file', () => {
    const path = join(folder, 'wild.so')
    const whole = readFileSync(library('libwhole.so'))
    for (const at of [32, 54, 56, 64 + 8, 64 + 32]) {
      const bytes = Buffer.from(whole)
      bytes.fill(0xff, at, at + 2)
      writeFileSync(path, bytes)
      try {
        expect(Array.isArray(neededLibraries(path))).toBe(true) // a field that is not read
      } catch (error) {
        expect(error).toMatchObject({ code: 'FILE_INVALID' })
      }
    }
  })
})

describe.runIf(process.platform === 'linux')('librariesBefore', () => {
  it('should name those of the folder by path, what they need before them, and the system by name', () => {
    library('libdeep.so')
    library('libmiddle.so', ['libdeep.so'])
    const top = library('libtop.so', ['libmiddle.so', 'libdeep.so'])
    const [deep, middle] = ['libdeep.so', 'libmiddle.so'].map((name) => join(folder, name))
    expect(librariesBefore(top)).toEqual(['libc.so.6', deep, middle])
  })
})
