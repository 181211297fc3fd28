import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { runNode } from '../helpers/child.js'

// Oracle: transformers and peft in float32 on pretrained bases (lab/real/oracles.py). They are not shipped: `python -m lab.real oracles
// --out DIR` makes bases and golden values, and TRAITSCOPE_REAL_MODELS=DIR names them here.
const ROOT = process.env.TRAITSCOPE_REAL_MODELS
const names =
  ROOT === undefined || !existsSync(join(ROOT, 'oracles')) ? [] : readdirSync(join(ROOT, 'oracles')).sort()
if (names.length === 0) {
  const why = ROOT === undefined ? 'TRAITSCOPE_REAL_MODELS is not set' : `${ROOT} holds no oracles`
  console.warn(`real bases are not compared with transformers: ${why} (lab/real/README.md makes them)`)
}

/** Largest figures that are accepted: about twice the largest measured on SmolLM2 with its smoke run's adapter, the smallest change of all, rounded up. */
const BOUND: Record<string, { states: number; change: number }> = {
  F32: { states: 1e-5, change: 1e-4 },
  BF16: { states: 0.02, change: 0.15 },
  Q8_0: { states: 0.1, change: 0.6 },
  Q4_K_M: { states: 0.4, change: 1.1 },
}

interface Result {
  type: string
  tokens: boolean
  states: number
  attached: number
  merged: number
  change: number
  changeMerged: number
}

describe.skipIf(names.length === 0)('a real base (TRAITSCOPE_REAL_MODELS)', { timeout: 3_600_000 }, () => {
  it.each(names)('should be read as transformers and peft read %s', async (name) => {
    const args = [join(ROOT!, 'bases', name), join(ROOT!, 'oracles', name)]
    const { code, stdout, stderr } = await runNode('lab/real/oracles.mjs', { args })
    expect(code, stderr).toBe(0)
    const { results } = JSON.parse(stdout) as { results: Result[] }
    expect(results.map(({ type }) => type)).toEqual(Object.keys(BOUND))
    for (const { type, tokens, states, attached, merged, change, changeMerged } of results) {
      console.log(name, type, { states, attached, merged, change, changeMerged })
      expect(tokens, type).toBe(true)
      const bound = BOUND[type]!
      for (const found of [states, attached, merged]) expect(found, type).toBeLessThan(bound.states)
      for (const found of [change, changeMerged]) expect(found, type).toBeLessThan(bound.change)
    }
  })
})
