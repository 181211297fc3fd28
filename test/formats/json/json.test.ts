import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTrainerJson } from '../../../lib/formats/json/json.js'
import { type JsonRules, scanJson } from '../../../lib/formats/json/json-scan.js'

const strict: JsonRules = { where: 'x', duplicateKeys: 'reject', numbers: 'unsigned', nonFinite: false }
const python: JsonRules = { where: 'x', duplicateKeys: 'last', numbers: 'any', nonFinite: true }

describe('parseTrainerJson', () => {
  it('should read the bare numbers that Python writes', () => {
    const text =
      '{"loss": NaN, "grad_norm": Infinity, "low": [-Infinity, -1.5e3], "name": "NaN \\" Infinity"}'
    expect(parseTrainerJson(text)).toEqual({
      loss: Number.NaN,
      grad_norm: Number.POSITIVE_INFINITY,
      low: [Number.NEGATIVE_INFINITY, -1500],
      name: 'NaN " Infinity',
    })
  })

  it('should read over a byte order mark', () => {
    expect(parseTrainerJson('\ufeff{"a": NaN}')).toEqual({ a: Number.NaN })
    expect(parseTrainerJson('\ufeff{"a": 1}')).toEqual({ a: 1 })
    expect(() => parseTrainerJson('\ufeff\ufeff1')).toThrow('not valid JSON')
  })

  it('should agree with JSON.parse on every JSON document', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        // Force the tolerant path by a NaN beside the document.
        expect(parseTrainerJson(`[NaN, ${text}]`)).toEqual([Number.NaN, JSON.parse(text)])
      }),
      { seed: 1 },
    )
  })

  it.each(['[', '{"a":'])('should refuse 65 levels of %s and read 64', (open) => {
    const nested = (levels: number) => `${open.repeat(levels)}1${(open === '[' ? ']' : '}').repeat(levels)}`
    expect(parseTrainerJson(nested(64))).toEqual(JSON.parse(nested(64)))
    const refused = expect.objectContaining({
      code: 'FILE_INVALID',
      message: expect.stringContaining('64 levels'),
    })
    expect(() => parseTrainerJson(nested(65))).toThrow(refused)
    expect(() => parseTrainerJson(nested(20_000))).toThrow(refused)
  })

  it('should keep "__proto__" as data', () => {
    const value = parseTrainerJson('{"__proto__": {"polluted": true}, "x": NaN}') as object
    expect(Object.keys(value)).toEqual(['__proto__', 'x'])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    expect('polluted' in {}).toBe(false)
  })

  it.each([
    '',
    '{',
    '{"a": NaN',
    '[NaN,]',
    '{"a": nan}',
    'NaN NaN',
    '{a: 1}',
    '"\\x"',
    '+Infinity',
    '{"a": 01, "b": NaN}',
  ])('should reject %j', (text) => {
    expect(() => parseTrainerJson(text, 'state.json')).toThrow(/state\.json is not valid JSON/)
  })
})

describe('scanJson', () => {
  it.each([
    ['{"a":1,"a":2}', /"a" appears twice/],
    ['{"t":{"shape":[1],"shape":[2]}}', /"shape" appears twice/],
    ['{"\\u0061":1,"a":2}', /"a" appears twice/],
    ['{"a":-1}', /2\^53 - 1, found -1/],
    ['{"a":-0}', /found -0/],
    ['{"a":1.0}', /found 1\.0/],
    ['{"a":1e3}', /found 1e3/],
    ['{"a":9007199254740992}', /found 9007199254740992/],
    ['{"a":NaN}', /expected a value/],
    ['{"a":"\\ud800"}', /half a surrogate/],
    ['{"a":"\\udc00\\ud800"}', /half a surrogate/],
    ['{"a":"\u0001"}', /control character/],
    ['{"a":1}x', /text after the value/],
    ['[[[[[[[[[[1]]]]]]]]]]', /nesting is too deep/],
  ])('should reject %j', (text, message) => {
    expect(() => scanJson(text, { ...strict, maxDepth: 8 })).toThrow(message)
  })

  it('should keep the order of keys and let the last duplicate win where that is asked for', () => {
    const map = scanJson('{"10":1,"2":2,"10":3}', python) as Map<string, number>
    expect([...map]).toEqual([
      ['10', 3],
      ['2', 2],
    ])
  })

  it('should survive nesting that would exhaust the stack', () => {
    expect(() => scanJson('['.repeat(1_000_000), python)).toThrow(/nesting is too deep/)
  })

  it('should decode surrogate pairs and all escapes', () => {
    expect(scanJson('"\\ud83d\\ude00\\n\\t\\/\\u0041"', strict)).toBe('😀\n\t/A')
  })
})
