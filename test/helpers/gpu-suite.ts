import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { packageRoot } from '../../lib/package.js'

interface SuiteResult {
  'self-check': { relativeL2: { type: string; unsplit: number; split: number }[] }
  oracles: { name: string; relativeL2: number; splitAgainstUnsplit: number; tolerance: number }[]
  checkpoint: {
    promptTokens: number
    groups: {
      cells: number
      split: boolean
      seconds: number
      computedTokens: number
      contextTokens: number
    }[]
    checkpoint: {
      cells: number
      seconds: number
      passSeconds: number
      operations: number
      productsPerSecond: number
      shareOfProducts: number
      repeatedDifference: number
      adaptersDifference: number
    }
    memory: Record<'planned' | 'taken', { device: string; all: number }[]>
  }
  reference: { leftOut?: string }
}

/** Prepares benchmarks/gpu with its smallest shape in `folder` and runs all of it, but for Python, with the program in `build`. */
export function runGpuSuite(folder: string, build: string, device: string): SuiteResult {
  const out = join(folder, 'build-suite')
  const run = (program: string, args: string[], env: NodeJS.ProcessEnv = {}) => {
    const done = spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, ...env } })
    expect(done.status, `${done.stdout}${done.stderr}`).toBe(0)
  }
  const prepare = join(packageRoot, 'benchmarks/gpu/prepare.mjs')
  run(process.execPath, [prepare, out, '--shape', 'tiny', '--no-sources'])
  run('bash', [join(out, 'run.sh')], { BUILD: build, DEVICE: device, PYTHON: 'no-such-python' })
  return JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'))
}

/** What holds on any device that computes as the CPU does. @param device whose memory was planned */
export function expectSound(result: SuiteResult, device: string): void {
  expect(result['self-check'].relativeL2.map(({ type }) => type)).toEqual([
    'F32',
    'BF16',
    'F16',
    'Q8_0',
    'Q4_K',
  ])
  for (const { unsplit, split } of result['self-check'].relativeL2) {
    expect(unsplit).toBe(0)
    expect(split).toBeLessThan(1e-3)
  }
  expect(result.oracles.length).toBeGreaterThan(30)
  for (const { name, relativeL2, splitAgainstUnsplit, tolerance } of result.oracles) {
    expect(relativeL2, name).toBeLessThan(tolerance)
    expect(splitAgainstUnsplit, name).toBeLessThan(tolerance)
  }
  const { groups, checkpoint, memory, promptTokens } = result.checkpoint
  expect(groups.map(({ cells, split }) => [cells, split])).toEqual([
    [256, false],
    [256, true],
    [512, false],
    [512, true],
  ])
  for (const { seconds, split, computedTokens, contextTokens } of groups) {
    expect(seconds).toBeGreaterThan(0)
    expect(computedTokens).toBeLessThan(promptTokens / 2)
    expect(contextTokens > 0).toBe(split)
  }
  expect(Math.min(...groups.map(({ seconds }) => seconds))).toBeGreaterThan(0)
  expect(checkpoint.seconds).toBeGreaterThanOrEqual(checkpoint.passSeconds)
  expect(checkpoint.shareOfProducts).toBeCloseTo(
    checkpoint.operations / checkpoint.passSeconds / checkpoint.productsPerSecond,
    6,
  )
  expect(checkpoint.repeatedDifference).toBe(0)
  expect(checkpoint.adaptersDifference).toBeGreaterThan(1e-3)
  const bytes = (of: 'planned' | 'taken') => memory[of].find((each) => each.device === device)!.all
  expect(Math.abs(bytes('planned') - bytes('taken')) / bytes('taken')).toBeLessThan(0.1)
  expect(result.reference.leftOut).toContain('no-such-python')
}
