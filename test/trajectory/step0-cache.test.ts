import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sha256 } from '../../lib/formats/files/hash.js'
import { Step0Cache } from '../../lib/trajectory/step0-cache.js'

const SHAPE = [2, 1, 3]
const entry = { states: Float32Array.of(1, 2, 3, 4, 5, 6), computedTokens: 7 }
const key = sha256('key')
let folder: string
let cache: Step0Cache
const file = () => join(folder, 'cache', `step0-${key}.safetensors`)

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-cache-'))
  cache = new Step0Cache(join(folder, 'cache'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('Step0Cache', () => {
  it('should give back what was put, and nothing for another key or shape', async () => {
    expect(await cache.get(key, SHAPE)).toBe(undefined)
    await cache.put(key, SHAPE, entry)
    expect(await cache.get(key, SHAPE)).toEqual(entry)
    expect(await cache.get(key, [1, 2, 3])).toBe(undefined)
    expect(await cache.get(sha256('other'), SHAPE)).toBe(undefined)
  })

  it.each<[string, (bytes: Buffer) => Buffer | string]>([
    ['cut short', (bytes) => bytes.subarray(0, bytes.length - 1)],
    ['empty', () => ''],
    ['of another format', () => 'states'],
    [
      'with a flipped bit',
      (bytes) => {
        bytes[bytes.length - 2]! ^= 1
        return bytes
      },
    ],
    [
      'with NaN',
      (bytes) => {
        bytes.writeFloatLE(Number.NaN, bytes.length - 4)
        return bytes
      },
    ],
    [
      'renamed from another key',
      (bytes) => Buffer.from(bytes.toString('latin1').replace(key, sha256('x')), 'latin1'),
    ],
  ])('should ignore an entry that is %s, and replace it', async (_, damage) => {
    await cache.put(key, SHAPE, entry)
    await writeFile(file(), damage(await readFile(file())))
    expect(await cache.get(key, SHAPE)).toBe(undefined)
    await cache.put(key, SHAPE, entry)
    expect(await cache.get(key, SHAPE)).toEqual(entry)
  })

  it('should keep the entries used last and nobody else’s files', async () => {
    await cache.put(key, SHAPE, entry)
    await writeFile(join(folder, 'cache', 'notes.txt'), 'mine')
    await utimes(file(), 1, 1)
    for (let i = 0; i < 64; i++) {
      await cache.put(sha256(`${i}`), SHAPE, entry)
    }
    const names = await readdir(join(folder, 'cache'))
    expect(names.length).toBe(65)
    expect(names).toContain('notes.txt')
    expect(await cache.get(key, SHAPE)).toBe(undefined)
    expect(await cache.get(sha256('63'), SHAPE)).toEqual(entry)
  })

  it('should keep what is as large as a quarter of the cache, and nothing larger', async () => {
    const states = new Float32Array(2 ** 25)
    await cache.put(key, [2 ** 25], { states, computedTokens: 1 })
    expect(await readdir(join(folder, 'cache'))).toEqual([`step0-${key}.safetensors`])
    const more = sha256('more')
    await cache.put(more, [2 ** 25 + 1], { states: new Float32Array(2 ** 25 + 1), computedTokens: 1 })
    expect(await readdir(join(folder, 'cache'))).toEqual([`step0-${key}.safetensors`])
  })

  it('should cost nothing but the cache where it cannot write', async () => {
    await writeFile(join(folder, 'file'), '')
    const blocked = new Step0Cache(join(folder, 'file', 'cache'))
    await blocked.put(key, SHAPE, entry)
    expect(await blocked.get(key, SHAPE)).toBe(undefined)
  })
})
