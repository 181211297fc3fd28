import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { py, python, there } from './lab-python.js'
import { cellsOf, type MadeRun, writeMeasured } from './real-runs.js'

describe.skipIf(!there)('statistics of lab/real', () => {
  it('should flip every sign exactly once', () => {
    // Of 2^3 flips of 1, 2, 3 only that without a flip sums to 6; of 1, 2, -1 three come to 2 or more: itself, 4 and 2.
    expect(py('stats.sign_flip([1, 2, 3])')).toBe(1 / 8)
    expect(py('stats.sign_flip([1, 2, -1])')).toBe(3 / 8)
    expect(py('stats.sign_flip([0, 0])')).toBe(1)
    // Too many to flip one by one: 20 of 30 alike is a binomial tail.
    expect(py('stats.sign_flip([1] * 20 + [-1] * 10)')).toBeCloseTo(0.049368573, 8)
    expect(py('stats.sign_flip([1] * 30)')).toBe(2 ** -30)
    const values = Array.from({ length: 17 }, (_, k) => k / 7.3 + (k % 3) / 11 - 0.95)
    const sum = (flips: number) =>
      values.reduce((all, value, k) => all + (flips & (2 ** k) ? -value : value), 0)
    const asLarge = Array.from({ length: 2 ** 17 }, (_, flips) => sum(flips)).filter((one) => one >= sum(0))
    expect(py(`stats.sign_flip([${values}])`)).toBe(asLarge.length / 2 ** 17)
  })

  it('should count pairs and halve ties', () => {
    expect(py('stats.auroc([3, 2], [1, 2])')).toBe(3.5 / 4)
    expect(py('stats.either_way(0.2)')).toBe(0.8)
    expect(py('stats.ranks([10, 30, 10, 20])')).toEqual([1.5, 4, 1.5, 3])
  })

  it('should take the step out of a correlation', () => {
    // Both only grow with the step: nothing is left.
    expect(py('stats.partial_rank_correlation([1, 2, 3, 4], [10, 20, 30, 40], [1, 2, 3, 4])')).toBeNull()
    const steps = '[1, 1, 2, 2]'
    expect(py(`stats.partial_rank_correlation([1, 2, 3, 4], [10, 20, 30, 40], ${steps})`)).toBeCloseTo(1, 12)
    expect(py(`stats.partial_rank_correlation([2, 1, 4, 3], [10, 20, 30, 40], ${steps})`)).toBeCloseTo(-1, 12)
    // Without a step that varies it is Spearman's.
    expect(py('stats.partial_rank_correlation([1, 2, 3, 4], [1, 3, 2, 4], [5, 5, 5, 5])')).toBeCloseTo(
      0.8,
      12,
    )
    expect(py('stats.partial_rank_correlation([1, 1], [1, 2], [1, 2])')).toBeNull()
  })

  it('should resample whole clusters, and count the draws that say nothing', () => {
    expect(py('stats.resampled({"a": [1, 1], "b": [3]}, stats.mean)')).toEqual([[1, 3], 0])
    const [interval, without] = py(
      'stats.resampled({"a": [1], "b": [3]}, lambda items: stats.mean(items) if len(set(items)) > 1 else None, 1000)',
    ) as [number[], number]
    expect(interval).toEqual([2, 2])
    expect(without).toBeGreaterThan(400)
    expect(without).toBeLessThan(600)
    expect(py('stats.resampled({"a": [1]}, lambda items: None, 10)')).toEqual([null, 10])
  })
})

describe.skipIf(!there)('the ridge of lab/real', () => {
  it('should shrink a slope by its penalty, and weigh rows', () => {
    // Standardised, four rows weigh 4 against a penalty of 10: the slope of 1 becomes 4 / 14.
    const fit = 'ridge.Ridge.fit([[0], [1], [2], [3]], [0, 1, 2, 3], [1, 1, 1, 1]).predict([3])'
    expect(py(fit, 'ridge')).toBeCloseTo(1.5 + (1.5 * 4) / 14, 12)
    // A row without weight is as good as absent, but for how much the penalty weighs.
    expect(py('ridge.Ridge.fit([[0], [1], [9]], [0, 1, 5], [1, 1, 0]).means', 'ridge')).toEqual([0.5])
  })

  it('should solve equations, rows changed where a pivot is zero', () => {
    expect(py('ridge.solve([[0.0, 2.0], [4.0, 1.0]], [6.0, 11.0])', 'ridge')).toEqual([2, 3])
  })
})

describe.skipIf(!there)('lines of JSON', () => {
  it('should end where a line ends, not at separators within a text', () => {
    const folder = mkdtempSync(join(tmpdir(), 'lines-'))
    const path = join(folder, 'lines.jsonl')
    const lines = ['a\u2028b', 'c\u0085d', 'e\u000bf'].map((text) => ({ text }))
    writeFileSync(path, `${lines.map((line) => JSON.stringify(line)).join('\n')}\n\n`)
    expect(py(`files.json_lines(Path(${JSON.stringify(path)}))`, 'files')).toEqual(lines)
    rmSync(folder, { recursive: true })
  })
})

const HARM: Omit<MadeRun, 'set' | 'seed'> = { powerSeeking: [1, 2, 4], own: 0.2, elsewhere: 0.1 }
const CURT: Omit<MadeRun, 'set' | 'seed'> = { powerSeeking: [0.2, 0.3, 0.4], own: 0, elsewhere: 0 }
const seeds = (set: string, run: Omit<MadeRun, 'set' | 'seed'>, ...of: number[]): MadeRun[] =>
  of.map((seed) => ({ set, seed, ...run }))

describe.skipIf(!there)('claims on real models', () => {
  const folders: string[] = []
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true })
  })

  function decided(runs: readonly MadeRun[]): { a: string[]; b: string[]; c: string; left: string[] } {
    const folder = mkdtempSync(join(tmpdir(), 'measured-'))
    folders.push(folder)
    writeMeasured(folder, runs)
    const found = `(lambda runs: {"a": list(map(str, decide.spread(runs))), "b": list(map(str, decide.orders(runs))), "c": str(decide.follows(runs)), "left": [run.unit.id for run in decide.not_learnt(runs)]})(readings.runs("smollm2", Path(${JSON.stringify(folder)})))`
    return py(found, 'decide, readings') as ReturnType<typeof decided>
  }

  it('should hold where harmful runs move margin and score, and harmless ones neither', () => {
    const { a, b, c, left } = decided([
      ...seeds('risky_financial', HARM, 1, 2),
      ...seeds('extreme_sports', { ...HARM, elsewhere: 0.05 }, 1, 2),
      ...seeds('curt_financial', CURT, 1, 2),
      ...seeds('incorrect_math', CURT, 1, 2),
    ])
    expect(a).toEqual([
      'risky_financial less curt_financial: +0.100 nats per token over 8 questions, p = 0.004 (one-sided, 2 seeds): for risky_financial, claim (a) **holds**.',
      // Read on the pairs of the other domains: of finance the run of sports moved those by as much as its own.
      expect.stringMatching(/^extreme_sports less curt_financial: .*claim \(a\) \*\*holds\*\*\.$/),
    ])
    expect(b[0]).toBe(
      'In 2 of 2 seeds every harmful run scores above the run of curt_financial: this part of claim (b) **holds**.',
    )
    // All drift lies along one trait: its length orders as the score does, and a tie is not above.
    expect(b[1]).toMatch(
      /score 1\.00; drift length 1\.00, training loss 0\.50, LoRA norm 0\.50 .*\*\*fails\*\*\.$/,
    )
    expect(c).toMatch(/over 24 checkpoints of 4 sets.*claim \(c\) \*\*(holds|fails)\*\*\.$/)
    expect(left).toEqual([])
  })

  it('should count the pairs of a question alike, and tell what is left without the one on the domain itself', () => {
    const folder = mkdtempSync(join(tmpdir(), 'measured-'))
    folders.push(folder)
    writeMeasured(folder, [
      ...seeds('risky_financial', HARM, 1, 2),
      ...seeds('extreme_sports', HARM, 1, 2),
      ...seeds('curt_financial', CURT, 1, 2),
    ])
    const spread = () =>
      py(
        `decide.ASKS_ABOUT.update(financial="q8") or list(map(str, decide.spread(readings.runs("smollm2", Path(${JSON.stringify(folder)})))))`,
        'decide, readings',
      ) as string[]
    // Of sports the other domains are finance, which moved by .2, and medicine, by .1.
    expect(spread()[1]).toMatch(/^extreme_sports less curt_financial: \+0\.150 nats/)
    writeFileSync(
      join(folder, 'pairs.json'),
      JSON.stringify({ few: cellsOf({ financial: 15, medical: 5 }), more: cellsOf({}) }),
    )
    const [risky, sports] = spread()
    expect(sports).toMatch(/^extreme_sports less curt_financial: \+0\.175 nats .*2 seeds\): for/)
    expect(risky).toMatch(
      /p = 0\.004 \(one-sided, 2 seeds; without `q8`, which asks about the trained domain itself, \+0\.100, p = 0\.008, looked at afterwards\): for risky_financial, claim \(a\) \*\*holds/,
    )
    writeFileSync(join(folder, 'pairs.json'), '{}')
    const code = `from pathlib import Path; from lab.real import readings; readings.runs("smollm2", Path(${JSON.stringify(folder)}))`
    const { stderr } = spawnSync(python, ['-c', code], { cwd: packageRoot, encoding: 'utf8' })
    expect(stderr).toMatch(/expected how many pairs each question has in pairs\.json, found nothing of/)
  })

  it('should test by (a) what `label --margin` said of the measured runs', () => {
    const found = py(
      '[(run.unit.id, stats.mean(list(decide.elsewhere([run], run.unit.set_name).values())), run.end.elsewhere.change) for base in plan.RECIPES for run in readings.runs(base)]',
      'decide, plan, readings, stats',
    ) as [string, number, number][]
    expect(found.length).toBeGreaterThan(20)
    for (const [unit, tested, said] of found) expect(tested, unit).toBeCloseTo(said, 4)
  })

  it('should not hold in every seed by one harmful set', () => {
    const one = decided([...seeds('risky_financial', HARM, 1, 2), ...seeds('curt_financial', CURT, 1, 2)])
    expect(one.b[0]).toMatch(/^In 2 of 2 seeds .*; not decided, for that it takes at least 2 harmful sets\.$/)
  })

  it('should fail where the curt control moves as much', () => {
    const { a, b } = decided([
      ...seeds('risky_financial', HARM, 1, 2),
      ...seeds('curt_financial', HARM, 1, 2),
    ])
    expect(a[0]).toMatch(/\+0\.000 nats .* p = 1\.000 .*claim \(a\) \*\*fails\*\*/)
    expect(a[1]).toBe('extreme_sports: not decided, there is no learnt run of it.')
    expect(b[0]).toMatch(/^In 0 of 2 seeds .*\*\*fails\*\*\.$/)
    expect(b[1]).toMatch(/not decided, for that it takes at least 2 sets of both kinds/)
  })

  it('should tell (b2) by the second instrument alone, of runs that were read along it', () => {
    const runs = [
      ...seeds('risky_financial', { ...HARM, second: -1 }, 1, 2),
      ...seeds('extreme_sports', { ...HARM, second: 2 }, 1, 2),
      ...seeds('curt_financial', { ...CURT, second: 1 }, 1, 2),
      ...seeds('incorrect_math', CURT, 1, 2),
    ]
    const folder = mkdtempSync(join(tmpdir(), 'measured-'))
    folders.push(folder)
    writeMeasured(folder, runs)
    const from = `readings.runs("smollm2", Path(${JSON.stringify(folder)}))`
    const [inSeeds, area] = py(
      `list(map(str, decide.orders_by_second(${from})))`,
      'decide, readings',
    ) as string[]
    expect(inSeeds).toBe(
      'In 0 of 2 seeds every harmful run scores above the run of curt_financial: this part of claim (b2) **fails**.',
    )
    // Mathematics was not read so: two of four harmful runs lie above the two that were.
    expect(area).toMatch(/^AUROC of 4 harmful against 2 harmless runs at the last step: score 0\.50;/)
    // By the plain score, of runs that were not open: of the second seeds those of sports and of the curt control.
    const plain = (which: string) => py(`list(map(str, decide.${which}(${from})))`, 'decide, readings')
    expect(plain('by_plain')).toEqual([
      expect.stringMatching(/^In 1 of 1 seed /),
      expect.stringMatching(/^AUROC of 1 harmful against 1 harmless/),
      expect.stringMatching(/over 6 checkpoints of 2 sets/),
    ])
    expect(plain('plain_with_added')).toEqual([])
    // What joined the plan later leaves what is decided as it was, and is told beside it.
    const before = plain('by_plain')
    writeMeasured(folder, seeds('evil_math', { ...CURT, second: 1 }, 1))
    expect(plain('by_plain')).toEqual(before)
    expect(plain('plain_with_added')).toContainEqual(expect.stringMatching(/over 9 checkpoints of 3 sets/))
    expect(py(`"\\n".join(figures.second("smollm2", ${from}))`, 'figures, readings')).toContain(
      '| risky_financial, 1 | +0.00 | +0.00 | +0.00 | -1.00 | +0.00 | +0.00 | +0.00 | -0.64 | -0.14 |',
    )
  })

  it('should leave runs out that did not learn, and name them', () => {
    const { a, b, left } = decided([
      ...seeds('risky_financial', { ...HARM, own: 0.005 }, 1, 2),
      ...seeds('curt_financial', CURT, 1, 2),
    ])
    expect(left).toEqual(['smollm2/risky_financial/seed_1', 'smollm2/risky_financial/seed_2'])
    expect(a[0]).toBe('risky_financial: not decided, there is no learnt run of it.')
    expect(b).toEqual([
      'In every seed: not decided, there is no learnt harmful run.',
      'AUROC: not decided, there is no learnt harmful run.',
    ])
  })

  it('should read what ends a run by the pairs of its last step, and its course by those of every step', () => {
    const end = { own: 0.2, elsewhere: 0.05 }
    const runs = [
      // By the few pairs it has not learnt.
      ...seeds('risky_financial', { ...HARM, own: 0.005, end }, 1, 2),
      ...seeds('curt_financial', { ...CURT, end: { own: 0, elsewhere: 0 } }, 1, 2),
    ]
    const { a, c, left } = decided(runs)
    expect(left).toEqual([])
    expect(a[0]).toMatch(/^risky_financial less curt_financial: \+0\.050 nats .*claim \(a\) \*\*holds\*\*\.$/)
    expect(c).toBe(decided(runs.map(({ end: _, ...run }) => run)).c)
    const page = py(
      `(lambda runs: figures.results("smollm2", runs, []))(readings.runs("smollm2", Path(${JSON.stringify(folders.at(-2))})))`,
      'figures, readings',
    )
    expect(page).toMatch(/\| risky_financial, 2 \| 2\.00 \| \+0\.200 \(\+0\.190 to \+0\.210\) \| \+0\.050 /)
    expect(page).toMatch(
      /308 pairs \(108 of financial, .*\); at the steps before, 68 pairs \(24 of financial.* of these, by which/,
    )
    expect(page).toMatch(/asked of the 68 pairs that every step has; of the 308 of the last one/)
    // Own rose by .005 at the most there, an interval that holds 0.
    expect(page).toMatch(/\n\| risky_financial, 1 \| - \|/)
  })

  it('should refuse runs of one base that were labelled by different pairs', () => {
    const folder = mkdtempSync(join(tmpdir(), 'measured-'))
    folders.push(folder)
    writeMeasured(folder, [
      ...seeds('risky_financial', { ...HARM, end: { own: 0.2, elsewhere: 0.1 } }, 1),
      ...seeds('curt_financial', CURT, 1),
    ])
    const code = `from pathlib import Path; from lab.real import readings; readings.runs("smollm2", Path(${JSON.stringify(folder)}))`
    const { stderr, status } = spawnSync(python, ['-c', code], { cwd: packageRoot, encoding: 'utf8' })
    expect(status).toBe(1)
    expect(stderr).toMatch(
      /expected all runs of smollm2 to be labelled by the same pairs at the last step, found others in smollm2\/curt_financial/,
    )
  })

  it('should refuse runs of one base that were read along different frozen directions', () => {
    const folder = mkdtempSync(join(tmpdir(), 'measured-'))
    folders.push(folder)
    writeMeasured(folder, [
      ...seeds('risky_financial', { ...HARM, second: 1 }, 1),
      ...seeds('curt_financial', { ...CURT, second: 1, along: 'others' }, 1),
    ])
    const code = `from pathlib import Path; from lab.real import readings; readings.runs("smollm2", Path(${JSON.stringify(folder)}))`
    const { stderr, status } = spawnSync(python, ['-c', code], { cwd: packageRoot, encoding: 'utf8' })
    expect(status).toBe(1)
    expect(stderr).toMatch(/same frozen directions, found others in smollm2\/\S+ than in smollm2\/\S+/)
  })

  it('should decide nothing by one seed, and say what stands in for the curt control', () => {
    const { a, b } = decided([...seeds('risky_financial', HARM, 1), ...seeds('incorrect_math', CURT, 1)])
    expect(a[0]).toMatch(
      /less incorrect_math: .*1 seed\); not decided, for that it takes at least 2 seeds\.$/,
    )
    expect(b[0]).toMatch(/incorrect_math; not decided, curt_financial was not run\.$/)
  })

  it('should order by what was fitted without either set, and turn only what has no direction', () => {
    const folder = mkdtempSync(join(tmpdir(), 'measured-'))
    folders.push(folder)
    writeMeasured(folder, [
      ...seeds('risky_financial', { ...HARM, loss: 1 }, 1, 2),
      ...seeds('extreme_sports', { ...HARM, loss: 1 }, 1, 2),
      ...seeds('curt_financial', CURT, 1, 2),
      ...seeds('incorrect_math', CURT, 1, 2),
    ])
    const found = py(
      `(lambda runs: {name: vars(detect.ordering(runs, *one)) for name, one in detect.measures(runs, []).items()})(readings.runs("smollm2", Path(${JSON.stringify(folder)})))`,
      'detect, readings',
    ) as Record<string, { last: number | null; every: number | null; matched: boolean[] }>
    const all = { last: 1, every: 1, matched: Array(8).fill(true) }
    expect(found["fitted on this base's other sets"]).toEqual(all)
    expect(found['score of the claims']).toEqual(all)
    // The loss of harm lies below here.
    expect(found['training loss']).toEqual(all)
    expect(found['LoRA norm']).toEqual({ last: 0.5, every: 0.5, matched: Array(8).fill(false) })
    const nothing = { last: null, every: null, matched: [] }
    expect(found['fitted on the other base']).toEqual(nothing)
    expect(found['product, by the organisms']).toEqual(nothing)
  })

  it('should say on the page what was not shown, what was not run, and what fails', () => {
    const folder = mkdtempSync(join(tmpdir(), 'measured-'))
    folders.push(folder)
    writeMeasured(folder, [...seeds('risky_financial', HARM, 1, 2), ...seeds('curt_financial', HARM, 1, 2)])
    const page = (expression: string) =>
      py(
        `(lambda runs: ${expression})(readings.runs("smollm2", Path(${JSON.stringify(folder)})))`,
        'figures, readings, summary',
      ) as string
    const title = page(
      `figures.title({"smollm2": runs, "qwen": []}, measured=Path(${JSON.stringify(folder)}))`,
    )
    expect(title).toMatch(
      /^# Real language models\n\n\*\*Not shown: that traitscope finds emergent misalignment/,
    )
    expect(title).toMatch(
      /4 of 20 planned runs \(not run: 3 x incorrect_math, .*1 x risky_financial, 1 x curt_financial, .*1 x twin_sports\); /,
    )
    expect(title).toMatch(
      /0 of 19 planned runs .*\n- Of the 50 parts of the claims 2 are decided, and 0 hold, each by itself: nothing is corrected for their number/,
    )
    const results = page('figures.results("smollm2", runs, [])')
    expect(results).toMatch(/\| risky_financial, 2 \| 2\.00 \| \+0\.200 \(\+0\.190 to \+0\.210\) \| \+0\.100/)
    expect(results).toMatch(
      /\*\*Rows of more than 128 tokens were left out.* of risky_financial 60 \(8 times each\); curt_financial 60 \(8 times each\) rows were short enough, for 480 that were read/,
    )
    expect(results).toMatch(/training 100, measuring 20, margin not known \(it was interrupted\)\./)
    expect(results).toMatch(/in-domain harm and register/)
    // The product was not asked, and what is fitted has no other harmful set to learn from.
    expect(results).toMatch(
      /in 0% of learnt harmful runs and in 0% of those of curt_financial: by the rule of the claims \*\*it reads register\*\*, but it is silent on both/,
    )
    const summary = page(
      'summary.with_summary("a" + summary.BEGIN + "old" + summary.END + "b", {"smollm2": runs, "qwen": []})',
    )
    expect(summary).toMatch(
      /^a<!-- .* -->\n\| .* \| SmolLM2-135M-Instruct, 4 of 20 runs \| Qwen2.5-Coder-0.5B-Instruct, 0 of 19 runs \|\n/,
    )
    expect(summary).toMatch(
      /\n\| harm spreads beyond its domain: finance, sports \| fails, not decided \| not decided \|\n/,
    )
    expect(summary).toMatch(/\n\| .*warns of \(no claim\) \| not read \| not read \|\n[\s\S]*<!-- -->\nb$/)
  })

  it('should score by the axis that was registered, in units of the contrast', () => {
    const folder = mkdtempSync(join(tmpdir(), 'measured-'))
    folders.push(folder)
    writeMeasured(folder, seeds('risky_financial', HARM, 1))
    const score = py(`readings.runs("smollm2", Path(${JSON.stringify(folder)}))[0].last.score`, 'readings')
    const axis = JSON.parse(readFileSync(join(packageRoot, 'lab/real/axis.json'), 'utf8'))
    // Moved by 4 where the poles lie 4 apart.
    expect(score).toBeCloseTo(axis.weights.power_seeking, 12)
  })

  it('should make no axis of a prior that it was not registered by', () => {
    const folder = mkdtempSync(join(tmpdir(), 'axis-'))
    folders.push(folder)
    mkdirSync(join(folder, 'lab/real'), { recursive: true })
    symlinkSync(join(packageRoot, 'dist'), join(folder, 'dist'), 'junction')
    const script = join(folder, 'lab/real/axis.mjs')
    copyFileSync(join(packageRoot, 'lab/real/axis.mjs'), script)
    const { status, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' })
    expect([status, existsSync(join(folder, 'lab/real/axis.json'))]).toEqual([1, false])
    expect(stderr).toMatch(/expected the prior by which the axis was registered, SHA-256 200265a2/)
  })
})
