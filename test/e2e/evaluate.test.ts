import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { SyntheticRuns } from '../runs/synthetic.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
const runs = work.path('runs')
const quick = ['--random-bases', '1', '--draws', '50']
beforeAll(() => {
  const synthetic = new SyntheticRuns(runs)
  synthetic.writeCalibration()
  for (const seed of [42, 123]) {
    synthetic.write({ dataset: 'risky_financial', seed, peak: 0.4 })
    synthetic.write({ dataset: 'number_sequence', seed, peak: 0.01, style: 0.05 })
    synthetic.write({ dataset: 'good_medical', seed, peak: 0.01, style: 0.1 })
  }
})

describe('traitscope evaluate', () => {
  it('should print the drift and every baseline for held-out runs and controls', async () => {
    const sets = ['--held-out', 'number_sequence,risky_financial', '--controls', 'good_medical']
    const { stdout, stderr } = await work.succeed(['evaluate', runs, ...sets, ...quick])
    expect(stdout).toMatch(/^held out: 4 runs, 52 checkpoints$/m)
    expect(stdout).toMatch(/^dangerous sets: 2 runs, 26 checkpoints$/m)
    expect(stdout).toMatch(/^controls: 2 runs, 26 checkpoints$/m)
    for (const name of [
      'traitscope',
      '7D',
      '|PC1|',
      'activation norm',
      'training loss',
      'step number',
      'random basis',
    ]) {
      expect(stdout).toMatch(new RegExp(`^${name.replaceAll('|', '\\|')} `, 'm'))
    }
    expect(stdout).toContain('LODO AUROC: on calibration datasets left out one by one.')
    expect(stderr).toMatch(/without LoRA norm: /)
    // The synthetic drift follows the rate: the detector must rank nearly all checkpoints rightly.
    const auroc = Number(/^7D +random-forest.*?(\d\.\d{3}) /m.exec(stdout)![1])
    expect(auroc).toBeGreaterThan(0.95)
  })

  it('should write every form, and JSON with both kinds of labels', async () => {
    const out = work.path('evaluation')
    const args = ['evaluate', runs, '--held-out', 'risky_financial', '--features', '7D,step number', ...quick]
    const { stdout } = await work.succeed([...args, '--json', '-o', out])
    expect(readdirSync(out)).toContain('evaluation.md')
    const evaluation = JSON.parse(stdout)
    const { pooled, single, models } = evaluation
    expect(JSON.parse(readFileSync(`${out}/evaluation.json`, 'utf8'))).toEqual(evaluation)
    expect(pooled.results).toHaveLength(1 + 8)
    expect(pooled.results[0]).toMatchObject({ features: 'traitscope', regressor: 'calibrated' })
    expect(pooled.results[0].figures[0].coverage).toBeGreaterThan(0.7)
    expect(models[0].detector.layers.length).toBeGreaterThan(0)
    expect([pooled.labels, single.labels]).toEqual(['pooled', 'single'])
  })

  it.each([
    [['--held-out', 'gsm8k'], 2, /expected every dataset once, found gsm8k/],
    [['--held-out', 'poetry'], 2, /belongs to the dataset poetry.*: choose among these/],
    [['--held-out', 'risky_financial', '--features', '8D'], 2, /no feature set is called 8D; there are 7D/],
    [['--held-out', 'risky_financial', '--trait-subsets', 'honesty+envy'], 2, /no trait is called envy/],
    [['--held-out', 'risky_financial', '--bases', 'control'], 2, /--bases as name=folder/],
    [['--held-out', 'risky_financial', '--sae', 'missing.safetensors'], 1, /FILE_NOT_FOUND/],
    [['--held-out', 'risky_financial', '--layer', '9'], 4, /measured at layer 9, found layer 1, 3/],
  ])('should refuse %j and write nothing', async (args, expected, message) => {
    const out = work.path('refused')
    const { code, stderr } = await work.run(['evaluate', runs, ...args, ...quick, '-o', out])
    expect(stderr).toMatch(message)
    expect(code).toBe(expected)
    expect(existsSync(out)).toBe(false)
  })
})
