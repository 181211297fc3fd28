import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseSentencePiece } from '../../../lib/formats/hf/sentencepiece.js'
import { packageRoot } from '../../../lib/package.js'

const read = () => readFile(join(packageRoot, 'test/fixtures/convert/mistral/hf/tokenizer.model'))
const BPE = [0x12, 2, 0x18, 2]
const piece = (...bytes: number[]) => [0x0a, bytes.length, ...bytes]

describe('parseSentencePiece', () => {
  it('should read the pieces of a trained model', async () => {
    const pieces = parseSentencePiece(await read(), 'tokenizer.model')
    expect(pieces).toHaveLength(480)
    expect(pieces.slice(0, 3)).toEqual([
      { text: '<unk>', score: 0, type: 2 },
      { text: '<s>', score: 0, type: 3 },
      { text: '</s>', score: 0, type: 3 },
    ])
    expect(pieces.find(({ text }) => text === '<0x0A>')!.type).toBe(6)
    expect(pieces.at(-1)!.score).toBeLessThan(0)
  })

  it('should read a piece by hand, in any order of fields', () => {
    const bytes = [...piece(0x18, 4, 0x15, 0, 0, 0x80, 0xbf, 0x0a, 1, 0x61), ...BPE]
    expect(parseSentencePiece(Uint8Array.from(bytes), 'x')).toEqual([{ text: 'a', score: -1, type: 4 }])
  })

  it.each([
    ['nothing', []],
    ['no pieces', BPE],
    ['a field that is cut short', [0x0a, 5, 0x61]],
    ['a number without end', [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]],
    ['a wire type that does not exist', [0x0b]],
    ['a piece that is a number', [0x08, 1, ...BPE]],
    ['a score that is too short', [...piece(0x12, 1, 0), ...BPE]],
  ])('should refuse %s', (_, bytes) => {
    expect(() => parseSentencePiece(Uint8Array.from(bytes), 'tokenizer.model')).toThrow(
      expect.objectContaining({ code: 'FILE_INVALID', message: expect.stringContaining('tokenizer.model') }),
    )
  })

  it('should refuse a unigram model', () => {
    expect(() =>
      parseSentencePiece(Uint8Array.from([...piece(0x0a, 1, 0x61), 0x12, 2, 0x18, 1]), 'x'),
    ).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })

  it('should refuse a file that is cut anywhere, or read the pieces before the cut', async () => {
    const bytes = await read()
    for (let end = 0; end < 600; end++) {
      expect(() => parseSentencePiece(bytes.subarray(0, end), 'x')).toThrow()
    }
  })
})
