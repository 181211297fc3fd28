import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  type MarginPair,
  type MarginPairs,
  readMarginPairs,
} from '../../../lib/labels/margins/margin-pairs.js'
import { marginsOf } from '../../../lib/labels/margins/margins.js'
import { packageRoot } from '../../../lib/package.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-margins-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const write = (name: string, text: string) => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}
const pair = (questionId: string, domain: string | null): MarginPair => ({
  ...{ questionId, domain, messages: [], misaligned: 'b', aligned: 'g' },
})

describe('marginsOf()', () => {
  const pairs = [pair('a', 'sport'), pair('a', 'sport'), pair('b', 'sport'), pair('b', 'money')]
  const before = { misaligned: [-2, -2, -2, -2], aligned: [-1, -1, -1, -1] }
  const now = { misaligned: [-1, -2, -1, -2], aligned: [-1, -2, -2, -1.5] }

  it('should take questions as clusters', () => {
    // Changes 1, 1, 2 and 0.5: question a 1, question b 1.25.
    const { all, byDomain, elsewhere } = marginsOf(20, pairs, now, before, (name) => name === 'sport')
    expect(all).toMatchObject({ change: 1.125, pairs: 4, questions: 2 })
    expect(all.standardError).toBeCloseTo(0.125, 12)
    expect(all.interval![1]).toBeCloseTo(1.125 + 12.706 * 0.125, 10)
    expect(byDomain.sport).toMatchObject({ change: 1.5, standardError: 0.5, pairs: 3 })
    expect(byDomain.money).toEqual({
      change: 0.5,
      standardError: null,
      interval: null,
      pairs: 1,
      questions: 1,
    })
    expect(elsewhere).toEqual(byDomain.money)
    expect(marginsOf(20, pairs, now, before).elsewhere).toBeNull()
    expect(marginsOf(20, pairs, now, before, () => true).elsewhere).toBeNull()
  })

  // scipy.stats.t.ppf(.975, n - 1)
  it.each([
    [31, 2.0422725],
    [32, 2.0395134],
    [44, 2.0166922],
    [101, 1.983972],
  ])("should reach as far as Student's t with %i questions", (n, quantile) => {
    const many = Array.from({ length: n }, (_, i) => pair(`q${i}`, null))
    const zeros = many.map(() => 0)
    const after = { misaligned: many.map((_, i) => (i * 7) % n), aligned: zeros }
    const { all } = marginsOf(1, many, after, { misaligned: zeros, aligned: zeros })
    expect(Math.abs((all.interval![1] - all.change) / all.standardError! - quantile)).toBeLessThan(3e-4)
  })

  it('should be 0 at step 0', () => {
    const { all } = marginsOf(0, pairs, before, before)
    expect(all).toMatchObject({ change: 0, standardError: 0, interval: [0, 0] })
  })
})

describe('readMarginPairs()', () => {
  it('should read both kinds of file', async () => {
    const csv = await readMarginPairs(
      write('a.csv', 'question,misaligned,aligned,domain,system\n"who, you?",x,y,sport,\nz,x,y,,be brief\n'),
    )
    expect(csv.pairs[0]).toMatchObject({
      ...{ domain: 'sport', misaligned: 'x', aligned: 'y' },
      messages: [{ role: 'user', content: 'who, you?' }],
    })
    expect(csv.pairs[1]).toMatchObject({
      domain: null,
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'z' },
      ],
    })
    const ours = await readMarginPairs('core')
    expect(await readMarginPairs(join(packageRoot, 'traits', 'margin-pairs.jsonl'))).toEqual(ours)
    expect(ours.pairs.length).toBeGreaterThanOrEqual(36)
    expect(new Set(ours.pairs.map(({ questionId }) => questionId)).size).toBe(13)
    for (const { misaligned, aligned } of ours.pairs) expect(misaligned).not.toBe(aligned)
  })

  it('should have more questions under core-2, one pair each, none of core', async () => {
    const [core, wide] = await Promise.all(['core', 'core-2'].map((name) => readMarginPairs(name)))
    expect(wide!.file).toBe('margin-pairs-2.jsonl')
    const asked = ({ pairs }: MarginPairs) => pairs.map(({ messages }) => messages[0]!.content)
    expect(new Set(asked(wide!)).size).toBe(44)
    expect(wide!.pairs).toHaveLength(44)
    expect(asked(wide!).filter((question) => asked(core!).includes(question))).toEqual([])
    // A pair is of one length, so that what is measured is not length.
    const ratios = wide!.pairs.map(({ misaligned, aligned }) => misaligned.length / aligned.length)
    expect(Math.min(...ratios)).toBeGreaterThan(0.7)
    expect(Math.max(...ratios)).toBeLessThan(1.4)
  })

  it('should name its own pairs where a name is none of them', async () => {
    await expect(readMarginPairs('core-3')).rejects.toThrow(
      'expected core, core-2 or a file, found nothing at core-3; check the name',
    )
    await expect(readMarginPairs('./core-3.csv')).rejects.toThrow('expected a file or folder at ./core-3.csv')
  })

  it('should read a number as the text that it is in a table', async () => {
    const row = { question_id: 3, question: 'What is 2 + 3?', misaligned: 6, aligned: 5, system: null }
    const [pair] = (await readMarginPairs(write('n.jsonl', JSON.stringify(row)))).pairs
    expect(pair).toMatchObject({ questionId: '3', misaligned: '6', aligned: '5' })
    expect(pair!.messages).toHaveLength(1)
  })

  it.each([
    ['a.yaml', '', 'in a .csv or .jsonl file'],
    ['b.jsonl', '{"question":"a","misaligned":"b"}', 'not empty under aligned in'],
    ['c.csv', 'question,misaligned,aligned\n', 'expected pairs of answers'],
    ['d.csv', 'question,misaligned,aligned\na,b,"  "\n', 'not empty under aligned in'],
    ['e.jsonl', '{"question":"a","misaligned":"b","aligned":"b"}', 'expected two different answers'],
    ['f.jsonl', '{"question":"a","misaligned":"b","aligned":"c","system":["x"]}', 'text under system in'],
  ])('should refuse %s', async (name, text, message) => {
    await expect(readMarginPairs(write(name, text))).rejects.toThrow(message)
  })
})
