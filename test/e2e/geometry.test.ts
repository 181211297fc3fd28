import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { RunGeometry } from '../../lib/geometry/run-geometry.js'
import { packageRoot } from '../../lib/package.js'
import { SyntheticRuns } from '../runs/synthetic.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
const runs = work.path('runs')
beforeAll(() => new SyntheticRuns(runs).writeCalibration())

describe('traitscope geometry', () => {
  it('should print loadings, what every dataset adds and the share of the first axis', async () => {
    const { stdout } = await work.succeed(['geometry', runs, '--draws', '10'])
    expect(stdout).toMatch(/first axis of 12 final drifts, harmlessness upwards/)
    expect(stdout).toMatch(/trait +all +-insecure_code +-gsm8k +-jailbroken +-bad_medical/)
    expect(stdout).toMatch(/harmlessness +\+0\.\d{3}/)
    expect(stdout).toMatch(/all runs +12 +\d/)
  })

  it('should write numbers and pictures, and the same bytes again', async () => {
    const out = work.path('geometry')
    const { stdout } = await work.succeed(['geometry', runs, '--draws', '10', '--json', '-o', out])
    expect(readdirSync(out).sort()).toEqual(['geometry.json', 'loadings.svg', 'plane.svg'])
    const geometry: RunGeometry = JSON.parse(stdout)
    expect(JSON.parse(readFileSync(`${out}/geometry.json`, 'utf8'))).toEqual(geometry)
    expect(geometry.pooled.nRuns).toBe(12)
    expect(geometry.pooled.shares[0]).toBeGreaterThan(0.9)
    expect(geometry.pooled.components[0]![2]).toBeGreaterThan(0)
    expect(
      geometry.plane.filter(({ step }) => step === 0).every(({ at }) => at[0] === 0 && at[1] === 0),
    ).toBe(true)
    expect(readFileSync(`${out}/plane.svg`, 'utf8').match(/<circle/g)).toHaveLength(12 * 14)

    const again = work.path('again')
    await work.succeed(['geometry', runs, '--draws', '10', '-o', again])
    for (const name of readdirSync(out)) {
      expect(readFileSync(`${again}/${name}`, 'utf8')).toBe(readFileSync(`${out}/${name}`, 'utf8'))
    }
  })

  it('should take some datasets only and say what it left out', async () => {
    const copy = work.path('copy')
    cpSync(runs, copy, { recursive: true })
    cpSync(`${runs}/toy/gsm8k/seed_42`, `${copy}/toy/gsm8k/seed_7`, { recursive: true })
    const { stdout, stderr } = await work.succeed(['geometry', copy, '--exclude', 'bad_medical', '-q'])
    expect(stdout).toMatch(/first axis of 9 final drifts/)
    expect(stderr).toMatch(/left out: toy\/gsm8k\/seed_7: its checkpoints are those of toy\/gsm8k\/seed_42/)
  })

  it('should say that there are no controls where a run has no activations', async () => {
    const organisms = join(packageRoot, 'organisms')
    const copy = work.path('gemma2')
    for (const seed of ['gsm8k/seed_42', 'bad_medical/seed_42'])
      cpSync(join(organisms, 'runs/gemma2', seed), join(copy, seed), { recursive: true })
    rmSync(join(copy, 'gsm8k/seed_42/activations.safetensors.gz'))
    const directions = join(organisms, 'models/gemma2/directions')
    const { stderr } = await work.succeed(['geometry', copy, '--draws', '5', '-d', directions, '-q'])
    expect(stderr).toBe('remark: the controls are left out: not every run has its activations.safetensors\n')
  })

  it('should find the same axis where nothing was judged', async () => {
    const judged = await work.succeed(['geometry', runs, '--draws', '10', '--json'])
    const unlabelled = work.path('unlabelled')
    cpSync(runs, unlabelled, { recursive: true, filter: (path) => !path.endsWith('betley_eval') })
    const { stdout, stderr } = await work.succeed(['geometry', unlabelled, '--draws', '10', '--json'])
    expect(JSON.parse(stdout)).toEqual(JSON.parse(judged.stdout))
    expect(stderr).not.toMatch(/left out/)
  })

  it('should refuse directions of other runs and write nothing', async () => {
    const directions = await work.directions()
    const out = work.path('refused')
    const { code, stderr } = await work.run(['geometry', runs, '-d', directions, '-o', out])
    expect(code).toBe(4)
    expect(stderr).toMatch(/NOT_COMPARABLE/)
    expect(existsSync(out)).toBe(false)
  })

  it.each([
    [['geometry', work.path('nowhere')], 1, /nowhere/],
    [['geometry', runs, '--datasets', 'poetry'], 2, /no run below .* belongs to the dataset poetry/],
    [['geometry', runs, '--datasets', ','], 2, /names separated by commas/],
  ])('should refuse %j', async (args, expected, message) => {
    const { code, stderr } = await work.run(args)
    expect(code).toBe(expected)
    expect(stderr).toMatch(message)
  })
})
