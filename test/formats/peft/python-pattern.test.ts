import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePathPatterns } from '../../../lib/formats/peft/python-pattern.js'
import { packageRoot } from '../../../lib/package.js'

const golden = JSON.parse(readFileSync(join(packageRoot, 'test/fixtures/formats/patterns.json'), 'utf8')) as {
  paths: string[]
  table: { key: string; matches: string[] }[]
}
const matches = (key: string, path: string) => compilePathPatterns([key], 'rank_pattern')(path) !== undefined

describe('compilePathPatterns', () => {
  it.each(golden.table)('should match $key where Python matches', ({ key, matches: expected }) => {
    expect(golden.paths.filter((path) => matches(key, path))).toEqual(expected)
  })

  it('should return the first key that matches, in the order given', () => {
    const first = compilePathPatterns(['v_proj', 'q_proj', '.*'], 'rank_pattern')
    expect([first('a.q_proj'), first('a.v_proj'), first('b')]).toEqual(['q_proj', 'v_proj', '.*'])
    expect(compilePathPatterns([], 'rank_pattern')('a')).toBeUndefined()
  })

  it('should match as RegExp does where the two languages agree', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      '.',
      '\\.',
      '[ab]',
      '[^a]',
      '\\w',
      '(a|b)',
      '(?:ab)',
      'a?',
      'b*',
      '(ab)+',
      'a{1,2}',
    )
    const key = fc.array(atom, { minLength: 1, maxLength: 5 }).map((atoms) => atoms.join(''))
    const path = fc
      .array(fc.constantFrom('a', 'b', '.', 'ab'), { maxLength: 8 })
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(key, path, (k, p) => {
        expect(matches(k, p), `${k} on ${p}`).toBe(new RegExp(`^(.*\\.)?(${k})$`).test(p))
      }),
      { seed: 1, numRuns: 3000 },
    )
  })

  it.each([
    ['a back reference', '(a)\\1'],
    ['a named back reference', '(?P<x>a)(?P=x)'],
    ['an inline flag', '(?i)q_proj'],
    ['a scoped flag', '(?i:q_proj)'],
    ['an atomic group', '(?>a)b'],
    ['a conditional', '(a)?(?(1)b|c)'],
    ['a comment', 'a(?#note)'],
    ['a possessive quantifier', 'a++'],
    ['a possessive repeat', 'a{2}+'],
    ['a JavaScript group name', '(?<x>a)'],
    ['a unicode escape', '\\u0061'],
    ['a hex escape', '\\x61'],
    ['a newline escape', 'a\\n'],
    ['a huge repeat', 'a{100000}'],
    ['a huge key', '(a)'.repeat(1000)],
  ])('should refuse %s by name', (_, key) => {
    expect(() => matches(key, 'a')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })

  it.each([
    '(',
    ')',
    '[a',
    '[',
    'a)',
    '*',
    '+a',
    '?',
    'a**',
    'a{2}{3}',
    '[b-a]',
    'a{3,2}',
    '\\',
    '(?=a',
    '(?<!a',
  ])('should call %j no regular expression', (key) => {
    expect(() => matches(key, 'a')).toThrow(expect.objectContaining({ code: 'ADAPTER_INVALID' }))
  })

  it.each([
    '(a+)+$b',
    '(a|a)*b',
    '((a*)*)*b',
    '(.*)*(.*)*(.*)*b',
    `${'(a?)'.repeat(100)}${'a'.repeat(100)}b`,
    '((((a{1,1000}){1,1000}){1,1000}){1,1000})b',
    '(?<=(?<=(?<=(?<=.*).*).*).*)b',
    '(?=(?=(?=(?=.*).*).*).*)b',
    '()*()*(|)*b',
    '('.repeat(300) + ')*'.repeat(300),
  ])('should not be kept busy by %s', (key) => {
    const match = compilePathPatterns([key], 'rank_pattern')
    try {
      for (let i = 0; i < 200; i++) match(`${'a'.repeat(300)}.${i}`)
    } catch (error) {
      expect(error).toMatchObject({ code: 'UNSUPPORTED' })
    }
  })
})
