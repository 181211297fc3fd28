import { describe, expect, it } from 'vitest'
import { readingRemarks } from '../../lib/conditions/reading-remarks.js'
import { GgufStrings, type GgufValue } from '../../lib/formats/gguf/gguf.js'
import type { Model } from '../../lib/model/model.js'

const model = (metadata: [string, GgufValue][], original?: number) =>
  ({
    gguf: { metadata: new Map(metadata) },
    limits: {
      longest: 4096,
      reason: '',
      ...(original && { longRope: { original, shortContext: original } }),
    },
  }) as unknown as Model
const prompts = (...lengths: number[]) => lengths.map((length) => ({ length }))

describe('readingRemarks', () => {
  it('should have nothing to say of a plain base', () => {
    expect(readingRemarks(model([]), prompts(3, 4000))).toEqual([])
    expect(readingRemarks(model([['traitscope.ignored_keys', strings()]]))).toEqual([])
  })

  it.each([
    [[3, 256], undefined],
    [[257, 300], '2 of 2 prompts'],
    [[3, 257], '1 of 2 prompts'],
    [[], undefined],
  ])('should say of %j tokens how many rotate by the long factors: %s', (lengths, count) => {
    const remarks = readingRemarks(model([], 256), prompts(...lengths))
    expect(remarks).toEqual(
      count === undefined ? [] : [expect.stringMatching(`^${count} have more than 256 tokens`)],
    )
  })

  it('should say what a conversion left out or could not prove', () => {
    const remarks = readingRemarks(
      model([
        ['traitscope.ignored_keys', strings('a_key', 'other.key')],
        ['traitscope.tokenizer.unproven', 'no library reads it'],
      ]),
    )
    expect(remarks).toEqual([
      expect.stringMatching(/converted without a_key, other\.key of its folder/),
      expect.stringMatching(/token ids were never compared with Hugging Face's: no library reads it$/),
    ])
  })
})

/** As a file has them: each behind its length. */
function strings(...texts: string[]): GgufStrings {
  const parts = texts.map((text) => Buffer.concat([Buffer.alloc(8), Buffer.from(text)]))
  let end = 0
  const ends = Uint32Array.from(parts, (part) => {
    end += part.length
    return end
  })
  return new GgufStrings(Buffer.concat(parts), ends)
}
