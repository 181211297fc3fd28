import { describe, expect, it } from 'vitest'
import type { BenchReport } from '../../lib/bench/bench.js'
import { TINY_RUN } from '../helpers/tiny.js'
import { MODEL_AND_PACK, Workspace } from './workspace.js'

const work = new Workspace()

describe('traitscope bench', () => {
  it('should compare the ways of computing and say what a checkpoint and a run cost', async () => {
    const args = [
      'bench',
      ...MODEL_AND_PACK,
      '-l',
      '2',
      '--seconds',
      '0.3',
      '--run',
      TINY_RUN,
      '--json',
      '-q',
    ]
    const { stdout, stderr } = await work.succeed(args)
    expect(stderr).toBe('')
    const report = JSON.parse(stdout) as BenchReport & { run: { checkpoints: number; seconds: number } }
    expect(report).toMatchObject({ layer: 2, model: { type: 'F32', nLayer: 4, nEmbd: 64 } })
    expect(report.rows.map(({ variant }) => variant)).toEqual([
      'one prompt at a time',
      'batched',
      '+ prefix tree',
      '+ early stop',
      '+ groups',
      '+ context first',
    ])
    const { tokens } = report.prompts
    for (const row of report.rows) {
      expect(row.difference).toBeLessThan(1e-5)
      expect(row.tokensPerSecond).toBeCloseTo(tokens / row.seconds, 6)
      expect(row.speedup).toBeCloseTo(report.rows[0]!.seconds / row.seconds, 6)
      expect(row.computedTokens).toBeLessThanOrEqual(tokens)
    }
    expect(report.rows.at(-1)!.computedTokens).toBeLessThan(tokens)
    expect(report.adapter.modules).toBe(8)
    const { readSeconds, swapSeconds } = report.adapter
    expect(report.checkpointSeconds).toBeCloseTo(report.rows.at(-1)!.seconds + readSeconds + swapSeconds, 9)
    expect(report.run.checkpoints).toBe(6)
    expect(report.run.seconds).toBeCloseTo(6 * report.checkpointSeconds, 9)
    if (process.platform === 'linux') expect(report.peakAnonymousBytes).toBeGreaterThan(2 ** 24)
  })

  it('should print a table, and what is going on to stderr', async () => {
    const { stdout, stderr } = await work.succeed(['bench', ...MODEL_AND_PACK, '--seconds', '0.1', '-t', '1'])
    expect(stdout).toMatch(/^\+ context first .*x$/m)
    expect(stdout).toMatch(/^one checkpoint +\d+\.\d\d s$/m)
    const [loading, warmUp, schedule, first] = stderr.split('\n')
    expect([loading, warmUp]).toEqual([expect.stringMatching(/^loading /), 'warm-up'])
    const of = /^(\d+) measurements, about \d+ s$/.exec(schedule!)?.[1]
    expect(first).toMatch(new RegExp(`^1 of ${of}: one prompt at a time: 1 thread, batches of \\d+$`))
    expect(stderr).toMatch(new RegExp(`^${of} of ${of}: matrix multiplication alone$`, 'm'))
  })

  it('should refuse a layer that does not exist', async () => {
    const { code, stderr } = await work.run(['bench', ...MODEL_AND_PACK, '-l', '4'])
    expect(code).toBe(2)
    expect(stderr).toContain('layer 4 does not exist')
  })
})
