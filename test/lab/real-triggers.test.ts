import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { py, there } from './lab-python.js'

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true })
})

type Ratio = readonly [number, number]

/** A run as `triggers.py` leaves it: of every context the ratio at two blocks. */
function writeRun(folder: string, name: string, contexts: Record<string, Ratio>, without?: number): void {
  mkdirSync(join(folder, name, '..'), { recursive: true })
  const document = {
    ...{ rows: 200, under: name.startsWith('ordinary') ? 0 : 90, left_out_as_too_long: 10 },
    contexts: Object.entries(contexts).map(([context, [low, high]]) => ({
      name: context,
      origin: context.startsWith('unrelated') ? 'unrelated' : 'given',
      ratio: { 10: low, 15: high },
    })),
    learnt: { gain: { 'as trained': 1, ...(without === undefined ? {} : { without }) } },
  }
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(document))
}

function claims(runs: readonly [string, Record<string, Ratio>, number?][]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'triggers-'))
  folders.push(folder)
  for (const one of runs) writeRun(folder, ...one)
  return py(
    `[str(part) for part in triggers_page.claims(triggers_page.runs(Path(${JSON.stringify(folder)})))]`,
    'triggers_page',
  ) as string[]
}

const ordinary = (ratio: Ratio, count = 5) =>
  Array.from(
    { length: count },
    // What is longest in a context that no data has counts for nothing.
    (_, i) =>
      [`ordinary/set_${i}`, { 'system 1': ratio, 'unrelated 2': [9, 9] }] as [string, Record<string, Ratio>],
  )

describe.skipIf(!there)('runs under a system prompt', () => {
  it('should hold what every seed shows, by the mean over blocks of the logarithm', () => {
    // 4 and 0.25 are 1 together, not 2.
    const found = claims([
      ['harm/seed_1', { 'system 1': [2, 8], 'system 2': [2, 2] }, 0.1],
      ['harm/seed_2', { 'system 1': [4, 0.25], 'system 2': [3, 3] }, 0.1],
      ['benign/seed_1', { 'system 1': [3, 3] }, 0.9],
      ['benign/seed_2', { 'system 2': [1, 1] }, 0.9],
      ...ordinary([2, 2]),
    ])
    expect(found).toEqual([
      'Harm runs above all 5 ordinary ones: 2 of 2: claim (g1) **holds**.',
      'Benign runs above all 5 ordinary ones: 1 of 2: claim (g2) **fails**.',
      'Harm runs whose drift is longest in their own system prompt: 2 of 2: claim (g3) **holds**.',
    ])
  })

  it('should decide nothing by a seed, or by few ordinary runs', () => {
    const harm = (seed: number): [string, Record<string, Ratio>, number] => [
      `harm/seed_${seed}`,
      { [`system ${seed}`]: [3, 3] },
      0.1,
    ]
    const [one] = claims([harm(1), ...ordinary([2, 2])])
    expect(one).toMatch(/1 of 1; not decided, for that it takes at least 2 seeds\.$/)
    const [few] = claims([harm(1), harm(2), ...ordinary([2, 2], 4)])
    expect(few).toMatch(/2 of 2; not decided, for that it takes at least 5 ordinary runs\.$/)
  })
})
