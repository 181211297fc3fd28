import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { py, there } from './lab-python.js'

describe.skipIf(!there)('the noise of a margin', () => {
  it('should part what pairs vary from what questions vary', () => {
    // Two questions at 1 and 3, pairs one off to either side: their variance is 2, that of the questions 2 less half of it.
    const cells = '{"q1": {"a": [0, 2]}, "q2": {"a": [2, 4]}}'
    const found = py(
      `(lambda one: [one["mean"], one["pair"], one["now"], one["endless"], one["with"]([2, 2])])(margin_noise.components(${cells}))`,
      'margin_noise',
    ) as number[]
    expect(found).toEqual([2, Math.SQRT2, 1, Math.sqrt(0.5), 1])
  })
})

describe.skipIf(!there)('readings of a margin', () => {
  it('should take over what was read of the same pairs: all steps of a unit, of other units step 0 alone', () => {
    const folder = mkdtempSync(join(tmpdir(), 'margins-'))
    const put = (path: string, text: string) => {
      mkdirSync(join(folder, path, '..'), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    const lines = (...values: object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('')
    const pair = (name: string, domain: string) => ({
      ...{ question_id: 'q', question: 'Q?', domain },
      ...{ misaligned: `bad ${name}`, aligned: `good ${name}` },
    })
    const [a, b, c, d] = [pair('a', 'x'), pair('b', 'x'), pair('c', 'y'), pair('d', 'y')]
    put('pairs-1.jsonl', lines(a!, c!))
    put('pairs-2.jsonl', lines(a!, b!, c!, d!))
    const hash = (path: string) =>
      createHash('sha256')
        .update(readFileSync(join(folder, path)))
        .digest('hex')
    const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
    const manifest = (pairs: string, traitscope = version) =>
      JSON.stringify({ base: 'made', pairsSha256: hash(pairs), versions: { traitscope } })
    const record = (step: number, ...misaligned: number[]) => ({
      ...{ step, weights: `w${step}`, misaligned },
      aligned: misaligned.map((value) => -value),
    })
    const reuse = (to: string, file: string, from: [string, boolean][]) => {
      const sources = from.map(
        ([path, first]) => `(Path(${JSON.stringify(join(folder, path))}), ${first ? 'True' : 'False'})`,
      )
      return py(
        `margins.reuse(Path(${JSON.stringify(join(folder, to))}), Path(${JSON.stringify(join(folder, file))}), [${sources}], Path(${JSON.stringify(folder)}))`,
        'margins',
      )
    }
    put('own/margins-2/margin_manifest.json', manifest('pairs-2.jsonl'))
    // The last line is being written.
    put('own/margins-2/margins.jsonl', `${lines(record(8, 1, 2, 3, 4))}{"step": 16`)
    put('other/margins-2/margin_manifest.json', manifest('pairs-2.jsonl'))
    put('other/margins-2/margins.jsonl', lines(record(0, 5, 6, 7, 8), record(4, 9, 9, 9, 9)))
    put('old/margins-2/margin_manifest.json', manifest('pairs-2.jsonl', '0.0.0'))
    put('old/margins-2/margins.jsonl', lines(record(0, 1, 1, 1, 1)))

    const from: [string, boolean][] = [
      ['old/margins-2', true],
      ['own/margins-2', false],
      ['other/margins-2', true],
    ]
    expect(reuse('own/margins-1', 'pairs-1.jsonl', from)).toEqual([0, 8])
    expect(
      readFileSync(join(folder, 'own/margins-1/margins.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([record(0, 5, 7), record(8, 1, 3)])
    expect(readFileSync(join(folder, 'own/margins-1/margin_manifest.json'), 'utf8')).toBe(
      `${JSON.stringify(JSON.parse(manifest('pairs-1.jsonl')), null, 1)}\n`,
    )
    // Two of four pairs are not a reading, and what was begun is left as it is.
    expect(reuse('new/margins-2', 'pairs-2.jsonl', [['own/margins-1', false]])).toEqual([])
    expect(existsSync(join(folder, 'new'))).toBe(false)
    expect(reuse('own/margins-1', 'pairs-1.jsonl', from)).toEqual([])
    rmSync(folder, { recursive: true })
  })
})
