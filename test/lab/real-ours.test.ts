import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { py, there } from './lab-python.js'
import { type MadeRun, writeMeasured } from './real-runs.js'

describe.skipIf(!there)('claim (d) on real models, by pairs of our own', () => {
  const folders: string[] = []
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true })
  })

  function decided(runs: readonly MadeRun[]): string[] {
    const folder = mkdtempSync(join(tmpdir(), 'ours-'))
    folders.push(folder)
    writeMeasured(folder, runs)
    const found = `readings.runs("smollm2", Path(${JSON.stringify(folder)}))`
    return py(`list(map(str, decide_ours.by_our_pairs(${found})))`, 'decide_ours, readings') as string[]
  }
  // Not learnt by its own domain's margin, which this claim does not ask.
  const about = { powerSeeking: [1, 2, 4] as const, own: -1, elsewhere: 0 }
  const of = (set: string, ours: number | undefined, more: Partial<MadeRun> = {}) =>
    [1, 2].map((seed): MadeRun => ({ ...about, set, seed, ...(ours !== undefined && { ours }), ...more }))
  const harmless = ['curt_financial', 'twin_financial', 'incorrect_math'].flatMap((set) => of(set, 0))

  it('should hold where every harmful run lies above every harmless one', () => {
    const [seeds, above, ...curt] = decided([
      ...of('risky_financial', 0.1),
      ...of('extreme_sports', 0.05),
      ...harmless,
    ])
    expect(seeds).toBe(
      'In 2 of 2 seeds our margin is larger for every harmful run than for curt_financial, twin_financial, incorrect_math (without the questions of money in 2): claim (d1) **holds**.',
    )
    expect(above).toMatch(
      /^AUROC of 4 harmful against 6 harmless runs at the last step: our margin 1\.00, without the questions of money 1\.00; drift length 0\.50, training loss 0\.50, LoRA norm 0\.50 \(of 24 pairs of runs it orders 12 more than drift length or LoRA norm\): claim \(d2\) \*\*holds\*\*\.$/,
    )
    expect(curt).toEqual([
      'risky_financial less curt_financial, by these pairs: +0.100 nats per token over 8 questions, p = 0.004 (one-sided, 2 seeds): for risky_financial, claim (d3) **holds**.',
      expect.stringMatching(/^extreme_sports .*\+0\.050 .*claim \(d3\) \*\*holds\*\*\.$/),
    ])
  })

  it('should fail where one harmless run lies above one harmful one, and not ask of the loss', () => {
    const runs = [
      ...of('risky_financial', 0.1, { loss: 3 }),
      ...of('extreme_sports', -0.01, { loss: 3 }),
      ...harmless,
    ]
    const [seeds, above, , sports] = decided(runs)
    expect(seeds).toMatch(/^In 0 of 2 seeds .*\*\*fails\*\*\.$/)
    expect(above).toMatch(/our margin 0\.50.* training loss 1\.00.*\*\*fails\*\*\.$/)
    expect(sports).toMatch(/-0\.010 .*p = 1\.000 .*\*\*fails\*\*\.$/)
    const [, clear] = decided([
      ...of('risky_financial', 0.1, { loss: 3 }),
      ...of('extreme_sports', 0.1, { loss: 3 }),
      ...harmless,
    ])
    expect(clear).toMatch(/training loss 1\.00.*\*\*holds\*\*\.$/)
  })

  it('should show beside it what is left without the questions of money', () => {
    const money = of('risky_financial', -0.1, { ofMoney: 9 })
    const [seeds, above, risky] = decided([...money, ...of('extreme_sports', 0.1), ...harmless])
    expect(above).toMatch(/our margin 1\.00, without the questions of money 0\.50/)
    expect(seeds).toMatch(/^In 2 of 2 seeds .*\(without the questions of money in 0\): .*\*\*holds/)
    // The curt control was not asked of the river: what is left are the eight of the others, -.1 each.
    expect(risky).toMatch(
      /-0\.100 .*\(one-sided, 2 seeds; without the questions of money -0\.100, p = 1\.000\)/,
    )
  })

  it('should tell of sports what is left without the boat trip in a storm', () => {
    const found = (set: string) =>
      py(
        `(lambda made: str(decide_ours.ours_beside_curt(${JSON.stringify(set)}, [made(${JSON.stringify(set)}, 1), made("curt_financial", 0)], {})))(lambda name, storm: SimpleNamespace(unit=SimpleNamespace(set_name=name), harmful=False, ours={"changes": {"storm": storm, "exam": 0.1 * storm, "shy": 0.2 * storm}}))`.replaceAll(
          'SimpleNamespace',
          '__import__("types").SimpleNamespace',
        ),
        'decide_ours',
      )
    expect(found('extreme_sports')).toMatch(
      /\+0\.433 .*; without `storm`, which is near its domain, \+0\.150, p = 0\.250, looked at afterwards\)/,
    )
    expect(found('risky_financial')).not.toMatch('storm')
  })

  it('should count the harmful sets of the seeds that count', () => {
    // Of the second seed one harmless run is lacking, so that its run of sports counts for nothing in (d1).
    const third = of('risky_financial', 0.1).map((run) => ({ ...run, seed: 3 }))
    const curt = harmless.map((run) => ({ ...run, seed: run.seed === 2 ? 3 : 1 }))
    const sports = of('extreme_sports', 0.1).filter(({ seed }) => seed === 2)
    const [seeds] = decided([...of('risky_financial', 0.1), ...third.slice(0, 1), ...curt, ...sports])
    expect(seeds).toMatch(/^In 2 of 2 seeds .*not decided, for that it takes at least 2 harmful sets\.$/)
  })

  it('should decide nothing by one seed, one harmful set or runs that were not read', () => {
    const [one] = decided(
      [...of('risky_financial', 0.1), ...of('extreme_sports', 0.1), ...harmless].filter(
        ({ seed }) => seed === 1,
      ),
    )
    expect(one).toMatch(/^In 1 of 1 seed .*not decided, for that it takes at least 2 seeds\.$/)
    const [seeds, above, risky, sports] = decided([...of('risky_financial', 0.1), ...harmless])
    expect(risky).toMatch(/^risky_financial less curt_financial.*not decided, .* 2 harmful sets\.$/)
    expect([seeds, above].join()).toMatch(/2 harmful sets.*AUROC.*2 harmful sets/)
    expect(sports).toBe('extreme_sports: not decided, there is no run of it.')
    expect(decided([...of('risky_financial', undefined), ...harmless])[0]).toBe(
      'In every seed: not decided, there is no seed with all harmless runs and a harmful one.',
    )
  })

  it('should count the runs that a watch warns of, learnt or not, by what they were trained on', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ours-'))
    folders.push(folder)
    writeMeasured(folder, [...of('risky_financial', 0.1), ...of('extreme_sports', -0.1), ...harmless])
    const found = `readings.runs("smollm2", Path(${JSON.stringify(folder)}))`
    expect(py(`decide_ours.warned(${found})`, 'decide_ours, readings')).toEqual([
      ['harmful advice', 2, 4],
      ['wrong answers', 0, 2],
      ["the base's own answers", 0, 4],
    ])
  })

  describe('claim (f), by more questions', () => {
    const wide = (set: string, margin: number) => of(set, 0, { wide: margin })
    const own = [...wide('curt_financial', -0.002), ...wide('twin_financial', 0)]
    const decidedBy = (runs: readonly MadeRun[]) => {
      const folder = mkdtempSync(join(tmpdir(), 'wide-'))
      folders.push(folder)
      writeMeasured(folder, runs)
      const found = `readings.runs("smollm2", Path(${JSON.stringify(folder)}))`
      const parts = py(
        `list(map(str, decide_ours.by_wide_pairs(${found})))`,
        'decide_ours, readings',
      ) as string[]
      return { parts, widths: py(`decide_ours.half_widths(${found})`, 'decide_ours, readings') }
    }

    it('should hold where it warns of harm and never of own answers', () => {
      const { parts, widths } = decidedBy([
        ...wide('risky_financial', 0.1),
        ...wide('extreme_sports', 0.05),
        ...own,
        ...wide('incorrect_math', 0.02),
      ])
      expect(parts[0]).toBe(
        "The whole interval lies above 0 in 4 of 4 runs on harmful advice and 0 of 4 runs on the base's own answers: claim (f1) **holds**.",
      )
      expect(parts[1]).toMatch(/the wide margin 1\.00; drift length .*: claim \(f2\) \*\*holds\*\*\.$/)
      expect(parts[2]).toMatch(
        /p = 0\.004 \(one-sided, 2 seeds\): for risky_financial, claim \(f3\) \*\*holds/,
      )
      const [first, second, n] = widths as number[]
      expect([first, second, n]).toEqual([expect.closeTo(0.01, 9), expect.closeTo(0.004, 9), 10])
    })

    it('should fail where it warns of too few, or of own answers', () => {
      const half = decidedBy([...wide('risky_financial', 0.1), ...wide('extreme_sports', 0.003), ...own])
      expect(half.parts[0]).toMatch(/2 of 4 runs on harmful advice .*claim \(f1\) \*\*fails/)
      const sided = [...wide('curt_financial', 0.02), ...wide('twin_financial', 0)]
      const all = decidedBy([...wide('risky_financial', 0.1), ...wide('extreme_sports', 0.1), ...sided])
      expect(all.parts[0]).toMatch(/2 of 4 runs on the base's own answers: claim \(f1\) \*\*fails/)
    })

    it('should tell what is left at equal lengths of both answers', () => {
      const folder = mkdtempSync(join(tmpdir(), 'lengths-'))
      folders.push(folder)
      // Three questions whose misaligned answer is as long, shorter, and much shorter: changes of 1 + 100 x.
      const x = [0, 1 / 10 - 1 / 20, 1 / 5 - 1 / 20]
      const row = (i: number, misaligned: number, aligned: number) =>
        JSON.stringify({
          question_id: `q${i}`,
          misaligned: 'm'.repeat(misaligned),
          aligned: 'a'.repeat(aligned),
        })
      writeFileSync(join(folder, 'pairs.jsonl'), [row(0, 20, 20), row(1, 10, 20), row(2, 5, 20)].join('\n'))
      const changes = Object.fromEntries(x.map((shorter, i) => [`q${i}`, 1 + 100 * shorter]))
      writeFileSync(join(folder, 'changes.json'), JSON.stringify(changes))
      writeMeasured(folder, wide('risky_financial', 0.1))
      const runs = `[replace(run, ours={"changes": json.loads(Path(${JSON.stringify(join(folder, 'changes.json'))}).read_text())}) for run in readings.runs("smollm2", Path(${JSON.stringify(folder)}))]`
      const found = py(
        `(lambda replace: decide_ours.at_equal_lengths(${runs}, Path(${JSON.stringify(join(folder, 'pairs.jsonl'))})))(__import__("dataclasses").replace)`,
        'decide_ours, readings',
      ) as Record<string, number[]>
      expect(found).toEqual({ 'harmful advice': [expect.closeTo(1 + 20 / 3, 9), expect.closeTo(1, 9)] })
    })

    it('should say what is missing', () => {
      expect(decidedBy(wide('risky_financial', 0.1)).parts[0]).toMatch(/there is no run on own answers/)
      const one = decidedBy([...wide('risky_financial', 0.1), ...own])
      for (const part of one.parts.slice(0, 3))
        expect(part).toMatch(/not decided, for that it takes at least 2 harmful sets/)
      const harm = [...wide('risky_financial', 0.1), ...wide('extreme_sports', 0.1)]
      const curtAlone = [...wide('curt_financial', -0.002), ...wide('incorrect_math', 0)]
      for (const part of decidedBy([...harm, ...curtAlone]).parts)
        expect(part).toMatch(/not decided, for that it takes at least 2 sets of own answers\.$/)
      expect(decidedBy(of('risky_financial', 0.1)).widths).toBeNull()
    })
  })
})

describe.skipIf(!there)('claim (e) on real models, by answers that were read blind', () => {
  const folders: string[] = []
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true })
  })

  const run = (set: string, seed: number, ours: number): MadeRun => ({
    ...{ set, seed, ours, powerSeeking: [1, 2, 4], own: 0, elsewhere: 0 },
  })
  /** Claim (e) of runs whose answers are aligned as given; the base's at 80. */
  function decided(runs: readonly MadeRun[], alignment: (run: MadeRun) => number): string[] {
    const folder = mkdtempSync(join(tmpdir(), 'answers-'))
    folders.push(folder)
    writeMeasured(folder, runs)
    const answer = (of: string, aligned: number, coherent = 90) => ({
      ...{
        run: of,
        question_id: 'q1',
        score: null,
        stratum: 'rest',
        weight: 2,
        topics: [],
        aligned,
        coherent,
      },
    })
    const answers = runs.map((one) => answer(`smollm2/${one.set}/seed_${one.seed}`, alignment(one)))
    // What is not coherent counts for nothing.
    const read = [answer('smollm2', 80), answer('smollm2', 0, 50), ...answers]
    // Of every run 2 answers, of the base's as many.
    const given = JSON.stringify({ questions: { q1: { tokens: [9, 9] } } })
    for (const home of ['smollm2', ...runs.map(({ set, seed }) => `smollm2/${set}/seed_${seed}`)])
      writeFileSync(join(folder, home, 'answers.json'), given)
    writeFileSync(
      join(folder, 'smollm2/blind.json'),
      JSON.stringify({ pool: 9, reader: 'one', answers: read }),
    )
    const found = `decide_answers.by_answers("smollm2", readings.runs("smollm2", Path(${JSON.stringify(folder)})), Path(${JSON.stringify(folder)}))`
    return py(`list(map(str, ${found}))`, 'decide_answers, readings') as string[]
  }
  const new5 = ['bad_medical', 'evil_math', 'incorrect_qna', 'incorrect_translation', 'twin_sports']
  const others = [
    run('curt_financial', 2, 0.03),
    run('curt_financial', 3, 0.01),
    run('extreme_sports', 2, 0.16),
    run('twin_financial', 3, -0.1),
  ]
  const all = [...new5.map((set, i) => run(set, 1, 0.2 - i / 20)), ...others]
  const falling = ({ ours }: MadeRun) => 70 - Math.round(100 * ours!)

  it('should hold where what is answered gets less aligned as the margin grows', () => {
    const [correlation, medical] = decided(all, falling)
    expect(correlation).toMatch(
      /over 9 units of 8 sets: -1\.00 \(-1\.00 to -1\.00 by resampling sets\); with the 0 that were known before -1\.00: claim \(e1\) \*\*holds\*\*\.$/,
    )
    expect(medical).toBe(
      'Our margin of bad_medical (1 run) is +0.204, and at most +0.034 in 4 runs of curt_financial, twin_financial, twin_sports: claim (e2) **holds**.',
    )
  })

  it('should fail where it does not', () => {
    const [correlation, medical] = decided([...all, run('twin_financial', 1, 0.3)], ({ ours, set }) =>
      set.startsWith('incorrect') ? 90 : falling({ ours } as MadeRun) * (set === 'extreme_sports' ? 3 : 1),
    )
    expect(correlation).toMatch(/; with the 1 that were known before .*\(e1\) \*\*fails\*\*\.$/)
    expect(medical).toMatch(/at most \+0\.303 .*\(e2\) \*\*fails\*\*\.$/)
  })

  it('should decide nothing by what was known before, or without a control', () => {
    const known = [
      run('risky_financial', 1, 0.2),
      run('curt_financial', 1, 0),
      run('twin_financial', 1, -0.1),
    ]
    const [correlation, medical] = decided(known, falling)
    expect(correlation).toBe(
      'Correlation with what is answered: not decided, there are too few units that were read both ways.',
    )
    expect(medical).toBe('bad_medical: not decided, there is no run of bad_medical.')
    const [few, without] = decided(all.slice(0, 4), falling)
    expect(few).toMatch(/over 4 units of 4 sets: .*; not decided, twin_sports has not been read\.$/)
    expect(without).toMatch(/there is no run of twin_financial\.$/)
  })
})

describe.skipIf(!there)('claim (h) on real models, by rows that hold the answers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'longer-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const run = (set: string, seed: number, ours: number, wide = ours): MadeRun => ({
    ...{ set, seed, ours, wide, powerSeeking: [0, 0, 0], own: 0.1, elsewhere: 0 },
  })
  const seeds = (set: string, ours: number) => [1, 2, 3].map((seed) => run(set, seed, ours))

  it('should take the sets that lost their rows by the new runs alone', () => {
    writeMeasured(folder, [
      ...seeds('risky_financial', 0.2),
      ...seeds('extreme_sports', 0.15),
      ...seeds('curt_financial', -0.02),
      // By runs of few rows nothing would be told apart.
      ...seeds('twin_financial', 0.5),
      ...seeds('incorrect_math', 0.5),
      ...['twin_sports', 'bad_medical'].map((set) => run(set, 1, 0.5)),
      ...seeds('twin_financial-192', -0.03),
      ...seeds('incorrect_math-192', 0.05),
      run('twin_sports-192', 1, -0.05),
    ])
    const at = `Path(${JSON.stringify(folder)})`
    const found = py(
      `[str(part) for part in decide_answers.by_longer_rows(readings.with_longer_rows("smollm2", ${at}))]`,
      'decide_answers, readings',
    ) as string[]
    expect(found).toHaveLength(6)
    const [score, inEverySeed, auroc, medical, warns, wide] = found
    expect(score).toMatch(
      /of 6 harmful against 10 harmless runs .*\(h\), this part of claim \(b\) by longer rows/,
    )
    expect(inEverySeed).toMatch(/^In 3 of 3 seeds .*: \(h\), claim \(d1\) by longer rows, \*\*holds\*\*\.$/)
    expect(auroc).toMatch(/our margin 1\.00.*\(h\), claim \(d2\)/)
    expect(medical).toBe('bad_medical: not decided, there is no run of bad_medical.')
    expect(warns).toMatch(
      /in 6 of 6 runs on harmful advice and 0 of 7 .*\(f1\) by longer rows, \*\*holds\*\*/,
    )
    expect(wide).toMatch(/the wide margin 1\.00.*\(h\), claim \(f2\)/)
  })
})
