import { readdirSync, readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { SyntheticRuns } from '../runs/synthetic.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
let run: string
beforeAll(() => {
  run = new SyntheticRuns(work.path('runs')).write({ dataset: 'bad_medical', seed: 42, peak: 0.6 })
})

describe('traitscope export', () => {
  it('should print a table, and write the same', async () => {
    const { stdout } = await work.succeed(['export', run])
    const [header, first] = stdout.split('\n')
    expect(header).toMatch(/^run,step,time,.*,judged_em,loss,drift_length,drift_/)
    expect(first).toMatch(/^bad_medical\/seed_42,0,/)
    const out = work.path('table.csv')
    await work.succeed(['export', run, '-o', out])
    expect(readFileSync(out, 'utf8')).toBe(stdout)
    const refused = await work.run(['export', run, '-o', out])
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('[FILE_EXISTS]')])
  })

  it('should not write over what it reads', async () => {
    const file = `${run}/trajectory.json`
    const before = readFileSync(file, 'utf8')
    const { code, stderr } = await work.run(['export', run, '-o', file, '--force'])
    expect([code, stderr]).toEqual([1, expect.stringContaining('what it is made of')])
    expect(readFileSync(file, 'utf8')).toBe(before)
  })

  it('should write event files', async () => {
    await work.succeed(['export', run, '--format', 'tensorboard', '-o', work.path('logs')])
    expect(readdirSync(work.path('logs'))).toEqual([expect.stringMatching(/^bad_medical_seed_42-/)])
  })

  it.each([
    ['tensorboard without a folder', ['--format', 'tensorboard'], 'USAGE'],
    ['trackio without an address', ['--format', 'trackio'], 'USAGE'],
    ['a project without trackio', ['--project', 'x'], 'USAGE'],
    ['a folder without runs', [], 'FILE_NOT_FOUND'],
  ])('should refuse %s', async (_, flags, code) => {
    const { stderr } = await work.run(['export', code === 'USAGE' ? run : '.', ...flags])
    expect(stderr).toContain(`[${code}]`)
  })
})
