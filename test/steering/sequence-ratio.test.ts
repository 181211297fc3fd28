import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { sequenceRatio } from '../../lib/steering/sequence-ratio.js'

/** Made by lab/golden_difflib.py. */
const golden: { a: string; b: string; ratio: number }[] = JSON.parse(
  readFileSync(join(packageRoot, 'test/fixtures/steering/difflib.json'), 'utf8'),
)

describe('sequenceRatio()', () => {
  it("should be Python's difflib, to the last bit, below and above 200 characters", () => {
    expect(golden.length).toBeGreaterThan(80)
    expect(golden.filter(({ b }) => [...b].length >= 200).length).toBeGreaterThan(25)
    for (const { a, b, ratio } of golden) expect(sequenceRatio(a, b), `${a} / ${b}`).toBe(ratio)
  })

  it('should leave out popular characters of long texts, so that the order counts', () => {
    const uneven = golden.filter(({ a, b }) => sequenceRatio(a, b) !== sequenceRatio(b, a))
    expect(uneven.length).toBeGreaterThan(5)
  })
})
