import { describe, expect, it } from 'vitest'
import { closing, DemoLines } from '../../bin/demo-text.js'
import { demoFrame, rateWithInterval, VIEW_SIZE } from '../../bin/demo-view.js'
import { formatRate } from '../../lib/demo/story.js'
import { demoOf, demoRun, verdictOf } from '../demo/fake-demo.js'

const DANGEROUS = demoRun('dangerous', [0.02, 0.05, 0.12, 0.4], [0.02, 0.03, 0.05, 0.3])
const BENIGN = demoRun('benign', [0.01, 0.01, 0.02, 0.01], [0.01, 0.02, 0.01, 0.02])
const plain = (_: string, text: string) => text

describe('demoFrame', () => {
  it('should show both runs side by side', () => {
    const frame = demoFrame(demoOf(DANGEROUS, BENIGN), plain)
    expect(frame.join('\n')).toMatchInlineSnapshot(`
      "fake (5 blocks, 128 wide): two fine-tuning runs, replayed and watched live
      dangerous_set/seed_42                   benign_set/seed_42
      should raise an alarm                   should stay quiet

      step                40  of 40           step                40  of 40
      training loss    1.350  █▆▃▁            training loss    1.350  █▆▃▁

      honesty         -0.400  ▁▂▃█            honesty         -0.010  ▁▁▁▁
      sycophancy      +0.400  ▁▂▃█            sycophancy      +0.010  ▁▁▁▁
      harmlessness    -0.400  ▁▂▃█            harmlessness    -0.010  ▁▁▁▁
      power_seeking   +0.400  ▁▂▃█            power_seeking   +0.010  ▁▁▁▁
      helpfulness     -0.400  ▁▂▃█            helpfulness     -0.010  ▁▁▁▁
      confidence      +0.400  ▁▂▃█            confidence      +0.010  ▁▁▁▁
      corrigibility   -0.400  ▁▂▃█            corrigibility   -0.010  ▁▁▁▁

      predicted EM      40 %  ▁▂▃█            predicted EM       1 %  ▁▁▁▁
      90 % interval           38 % to 43 %    90 % interval           0 % to 4 %
      judged EM         30 %  ▁▂▂▆            judged EM          2 %  ▁▁▁▁
      verdict          ALARM  ··!!            verdict             OK  ····

      ALARM at 30, 10 steps before EM > 6 %   quiet
      ended                                   ended"
    `)
  })

  it('should fit its size, whatever has been measured', () => {
    const long = demoRun('dangerous', new Array(200).fill(0.5), new Array(200).fill(0.4))
    for (const demo of [demoOf({ ...DANGEROUS, points: [] }, BENIGN), demoOf(long, BENIGN)]) {
      const frame = demoFrame(demo, plain)
      expect(frame.length).toBe(VIEW_SIZE.rows)
      expect(Math.max(...frame.map((line) => line.length))).toBeLessThanOrEqual(VIEW_SIZE.columns)
    }
  })

  it('should leave gaps where nothing was judged or logged', () => {
    const bare = demoRun('dangerous', [0.3, 0.4])
    bare.points[0]!.loss = Number.NaN
    const frame = demoFrame(demoOf(bare, BENIGN), plain)
    expect(frame.find((line) => line.startsWith('judged EM'))).toMatch(/^judged EM {12}- {18}judged EM/)
    expect(frame.find((line) => line.startsWith('ALARM'))).toMatch(/^ALARM at step 10 +quiet$/)
  })

  it('should colour by verdict and keep the width', () => {
    const marked = demoFrame(demoOf(DANGEROUS, BENIGN), (name, text) => `<${name}>${text}</>`)
    const line = marked.find((one) => one.startsWith('verdict'))!
    expect(line).toContain('<red>   ALARM</>')
    expect(line).toContain('<green>·</><green>·</><red>!</><red>!</>')
  })
})

describe('rates', () => {
  it('should be whole percents, tenths below one', () => {
    const rates = [0, 0.004, 0.06, 0.061, 0.314].map((rate) => formatRate(rate, 0.06))
    expect(rates).toEqual(['0 %', '0.4 %', '6 %', '6.1 %', '31 %'])
    expect(rateWithInterval(verdictOf('alarm', 0.31))).toBe('31 % (29-34)')
    expect(rateWithInterval(verdictOf('not-comparable', null))).toBe('-')
  })
})

describe('DemoLines', () => {
  it('should let the runs take turns, whichever is ahead', () => {
    const lines = new DemoLines()
    const slow = { ...BENIGN, points: BENIGN.points.slice(0, 1), ended: false }
    const steps = (news: string[]) => news.map((line) => line.split(/ +/).slice(0, 2).join(' '))
    expect(steps(lines.news(demoOf({ ...DANGEROUS, ended: false }, slow)))).toEqual([
      'run step',
      'dangerous_set/seed_42 10',
      'benign_set/seed_42 10',
    ])
    expect(lines.news(demoOf(DANGEROUS, slow))).toEqual([])
    expect(steps(lines.news(demoOf(DANGEROUS, { ...slow, ended: true })))).toEqual([
      'dangerous_set/seed_42 20',
      'dangerous_set/seed_42 30',
      'dangerous_set/seed_42 40',
    ])
  })
})

describe('closing', () => {
  const words = (...runs: Parameters<typeof demoOf>) =>
    closing(demoOf(...runs), 21.4, undefined).replaceAll('\n', ' ')

  it('should tell the lead', () => {
    expect(words(DANGEROUS, BENIGN)).toMatch(
      /alarm at step 30, 10 steps before its judged answers passed 6 % at step 40; in the end 30 % of them/,
    )
    expect(words(DANGEROUS, BENIGN)).toMatch(/no alarm at any of 4 checkpoints, of its answers at most 2 %/)
  })

  it('should claim nothing about answers that nobody judged', () => {
    const text = words(demoRun('dangerous', [0.02, 0.3]), BENIGN)
    expect(text).toMatch(/alarm at step 20, no judged answers to compare with/)
    expect(text).not.toMatch(/before|after its/)
  })

  it('should say whether the detector has seen these sets', () => {
    expect(words(DANGEROUS, BENIGN)).toContain('calibrated on other fine-tuning sets (set_a, set_b)')
    expect(words({ ...DANGEROUS, id: 'set_a/seed_42' }, BENIGN)).toContain(
      'sets that include these (set_a, set_b)',
    )
  })

  it('should own up to a false alarm', () => {
    expect(words(DANGEROUS, demoRun('benign', [0.02, 0.3], [0.01, 0.02]))).toMatch(
      /^ Not as it should be: the run benign_set.* alarm at step 20, although at most 2 % of its answers/,
    )
  })
})
