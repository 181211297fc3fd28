import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { encodeGguf, type GgufInput, readGguf } from '../../../lib/formats/gguf/gguf.js'
import { readGgufParts } from '../../../lib/formats/gguf/gguf-split.js'
import { storedMetadata, tensorBytes, writeGgufStream } from '../../../lib/formats/gguf/gguf-stream.js'
import { packageRoot } from '../../../lib/package.js'
import { TINY_BASE } from '../../helpers/tiny.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-gguf-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const copyOf = async (path: string, out: string, pieceBytes?: number) => {
  const gguf = await readGguf(path)
  const tensors = [...gguf.tensors.values()].map((tensor) => ({
    ...tensor,
    chunks: () => tensorBytes(gguf, tensor, 0, tensor.byteLength, pieceBytes),
  }))
  await writeGgufStream(out, storedMetadata(gguf), tensors)
}

describe('writeGgufStream', () => {
  it.each([
    ['a model with a vocabulary', TINY_BASE],
    ['every value type', join(packageRoot, 'test/fixtures/formats/values.gguf')],
    ['an F16 model', join(packageRoot, 'test/fixtures/oracles/llama-wide/model.gguf')],
  ])('should copy %s byte for byte, in pieces of any size', async (_, path) => {
    for (const [i, piece] of [undefined, 1000].entries()) {
      const out = join(folder, `${i}.gguf`)
      await copyOf(path, out, piece)
      expect((await readFile(out)).equals(await readFile(path))).toBe(true)
    }
  })

  const tensor = (chunks: () => AsyncIterable<Uint8Array>) => ({
    name: 'x',
    shape: [4],
    type: 'F32' as const,
    chunks,
  })

  it('should report progress up to 1', async () => {
    const seen: number[] = []
    const chunks = async function* () {
      yield new Uint8Array(8)
      yield new Uint8Array(8)
    }
    await writeGgufStream(join(folder, 'x.gguf'), [['general.alignment', 'u32', 16]], [tensor(chunks)], {
      onProgress: (fraction) => seen.push(fraction),
    })
    expect(seen).toEqual([0.5, 1])
  })

  it('should leave nothing behind when a tensor is cut short, a chunk throws or the signal fires', async () => {
    const short = async function* () {
      yield new Uint8Array(12)
    }
    const failing = async function* () {
      yield new Uint8Array(8)
      throw new Error('disk on fire')
    }
    const out = join(folder, 'x.gguf')
    await expect(writeGgufStream(out, [], [tensor(short)])).rejects.toMatchObject({ code: 'INTERNAL' })
    await expect(writeGgufStream(out, [], [tensor(failing)])).rejects.toThrow('disk on fire')
    const signal = AbortSignal.abort()
    await expect(writeGgufStream(out, [], [tensor(short)], { signal })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    expect(await readdir(folder)).toEqual([])
  })
})

describe('readGgufParts', () => {
  const named = (name: string, value: number) => ({
    name,
    shape: [4],
    type: 'F32' as const,
    data: new Float32Array(4).fill(value),
  })
  const part = (
    no: number,
    tensors: string[],
    { count = 2, all = 3, more = [] }: { count?: number; all?: number; more?: GgufInput['metadata'] } = {},
  ) =>
    encodeGguf({
      metadata: [
        ...more,
        ['split.no', 'u16', no],
        ['split.count', 'u16', count],
        ['split.tensors.count', 'i32', all],
      ],
      tensors: tensors.map((name, i) => named(name, 10 * no + i)),
    })
  const path = (no: number) => join(folder, `m-0000${no + 1}-of-00002.gguf`)
  const write = async (first: Uint8Array, second: Uint8Array) => {
    await writeFile(path(0), first)
    await writeFile(path(1), second)
    return readGgufParts(path(0))
  }

  it('should see the parts as one model', async () => {
    const more: GgufInput['metadata'] = [['general.name', 'string', 'split']]
    const parts = await write(part(0, ['a', 'b'], { more }), part(1, ['c']))
    expect([...parts.tensors.keys()]).toEqual(['a', 'b', 'c'])
    expect([...parts.metadata]).toEqual([['general.name', 'split']])
    const c = parts.tensors.get('c')!
    expect(parts.fileOf(c).path).toBe(path(1))
    for await (const piece of tensorBytes(parts.fileOf(c), c, 0, 16)) {
      expect([...new Float32Array(piece.buffer)]).toEqual([10, 10, 10, 10])
    }
  })

  it('should read a single file as it is', async () => {
    const parts = await readGgufParts(TINY_BASE)
    const gguf = await readGguf(TINY_BASE)
    expect([...parts.tensors.keys()]).toEqual([...gguf.tensors.keys()])
    expect([...parts.metadata.keys()]).toEqual([...gguf.metadata.keys()])
  })

  it('should want the first part', async () => {
    await write(part(0, ['a', 'b']), part(1, ['c']))
    await expect(readGgufParts(path(1))).rejects.toMatchObject({ code: 'USAGE' })
    await expect(readGguf(path(0))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it.each([
    ['a missing tensor', part(0, ['a']), part(1, ['c']), /expected 3 tensors in 2 parts, found 2/],
    ['a repeated tensor', part(0, ['a', 'b']), part(1, ['a']), /no tensor of an earlier part, found a/],
    ['another part', part(0, ['a', 'b']), part(0, ['c']), /expected part 2 of 2, found 1 of 2/],
    ['another count', part(0, ['a', 'b'], { count: 3 }), part(1, ['c']), /expected 2 parts, found 3/],
  ])('should refuse %s', async (_, first, second, message) => {
    await expect(write(first, second)).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringMatching(message),
    })
  })

  it('should name a part that is not there', async () => {
    await write(part(0, ['a', 'b']), part(1, ['c']))
    await rm(path(1))
    await expect(readGgufParts(path(0))).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining(path(1)),
    })
  })
})
