import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { KeyedStore, type StoreOptions } from '../../../lib/formats/files/keyed-store.js'

const OPTIONS: StoreOptions = { prefix: 'kept-', suffix: '.bin', maxBytes: 250 }
const key = (digit: string) => digit.repeat(64)

let folder: string
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'traitscope-store-')), 'cache')
})
afterEach(() => rm(join(folder, '..'), { recursive: true, force: true }))

const names = async () => (await readdir(folder)).sort()

/** Entries of 100 bytes, the first one used last. */
async function filled(digits: string, options: Partial<StoreOptions> = {}): Promise<KeyedStore> {
  const store = new KeyedStore(folder, { ...OPTIONS, ...options })
  await mkdir(folder, { recursive: true })
  for (const [age, digit] of [...digits].entries()) {
    await writeFile(store.path(key(digit)), Buffer.alloc(100))
    await utimes(store.path(key(digit)), 1000 - age, 1000 - age)
  }
  return store
}

describe('KeyedStore', () => {
  it('should keep an entry under its key, and replace it', async () => {
    const store = new KeyedStore(folder, OPTIONS)
    expect(await store.has(key('a'))).toBe(false)
    await store.write(key('a'), 'one')
    await store.write(key('a'), Buffer.from('two'))
    expect(await store.has(key('a'))).toBe(true)
    expect(await readFile(store.path(key('a')), 'utf8')).toBe('two')
    expect(await names()).toEqual([`kept-${key('a')}.bin`])
  })

  it('should remove what was used longest ago, never the newest, and stale temporary files', async () => {
    const store = await filled('abcd')
    const temporary = (digit: string) => join(folder, `.kept-${key(digit)}.bin.1-ab.tmp`)
    await writeFile(temporary('a'), 'old')
    await utimes(temporary('a'), 1000, 1000)
    await writeFile(temporary('b'), 'young')
    const foreign = [`other-${key('a')}.bin`, 'kept-x.bin', `kept-${key('a')}.bin2`, 'notes.txt']
    for (const name of foreign) {
      await writeFile(join(folder, name), Buffer.alloc(1000))
      await utimes(join(folder, name), 1, 1)
    }
    expect(await store.has(key('c'))).toBe(true)
    expect(await store.has(key('e'))).toBe(false)
    await store.prune(key('d'))
    expect(await names()).toEqual(
      [`.kept-${key('b')}.bin.1-ab.tmp`, `kept-${key('c')}.bin`, `kept-${key('d')}.bin`, ...foreign].sort(),
    )
    await new KeyedStore(folder, { ...OPTIONS, maxBytes: 1 }).prune(key('d'))
    expect(await names()).toEqual(
      [`.kept-${key('b')}.bin.1-ab.tmp`, `kept-${key('d')}.bin`, ...foreign].sort(),
    )
  })

  it('should keep no more entries than it may', async () => {
    const store = await filled('abcd', { maxBytes: 10_000, maxEntries: 2 })
    await store.write(key('e'), 'new')
    expect(await names()).toEqual([`kept-${key('a')}.bin`, `kept-${key('e')}.bin`])
  })

  it('should keep entries that just fill it', async () => {
    const store = await filled('ab', { maxBytes: 200 })
    await store.prune(key('a'))
    expect(await names()).toEqual([`kept-${key('a')}.bin`, `kept-${key('b')}.bin`])
  })

  it('should count the entry that stays first, however long ago it was used', async () => {
    for (const [digits, kept] of [
      ['ab', 'b'],
      ['ba', 'a'],
    ] as const) {
      const store = await filled(digits, { maxBytes: 100 })
      await store.prune(key(kept))
      expect(await names()).toEqual([`kept-${key(kept)}.bin`])
    }
  })

  it('should touch no file that only looks like one of its own', async () => {
    const store = await filled('a', { maxBytes: 1 })
    const foreign = [
      `.kept-${key('b')}.bin`,
      `.kept-${key('b')}.bin.swp`,
      `.kept-${key('b')}.tmp`,
      `.kept-${'b'.repeat(63)}.bin.1-ab.tmp`,
      `.other${key('b')}.bin.1-ab.tmp`,
      `kept-${'b'.repeat(63)}g.bin`,
      `kept-${'B'.repeat(64)}.bin`,
      `keep-${key('b')}.bin`,
    ].sort()
    for (const name of foreign) {
      await writeFile(join(folder, name), Buffer.alloc(100))
      await utimes(join(folder, name), 1, 1)
    }
    await store.prune(key('c'))
    expect(await names()).toEqual(foreign)
  })

  it('should leave temporary files alone for a day', async () => {
    const store = await filled('a')
    const temporary = (hours: number) => join(folder, `.kept-${key('a')}.bin.${hours}.tmp`)
    for (const hours of [1, 23, 25]) {
      await writeFile(temporary(hours), 'being written')
      const then = Date.now() / 1000 - 3600 * hours
      await utimes(temporary(hours), then, then)
    }
    await store.prune(key('a'))
    expect(await names()).toEqual([
      `.kept-${key('a')}.bin.1.tmp`,
      `.kept-${key('a')}.bin.23.tmp`,
      `kept-${key('a')}.bin`,
    ])
  })

  it.runIf(process.platform !== 'win32')('should go on when another process removes an entry', async () => {
    const store = await filled('ab', { maxBytes: 100 })
    // What a listing still names and no look finds: a link to nothing.
    await symlink(join(folder, 'nothing'), store.path(key('c')))
    await store.prune(key('a'))
    expect(await names()).toEqual([`kept-${key('a')}.bin`, `kept-${key('c')}.bin`])
  })

  it('should say what is in the way of writing', async () => {
    await writeFile(folder, '')
    const store = new KeyedStore(folder, OPTIONS)
    await expect(store.write(key('a'), 'one')).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    expect(await store.has(key('a'))).toBe(false)
    await store.prune(key('a'))
  })
})
