import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { schemaErrors } from '../helpers/schemas.js'
import { Workspace } from './workspace.js'

const organisms = (path: string) => join(packageRoot, 'organisms', path)
const name = readdirSync(organisms('checkpoints'))[0]!
const BASE = ['-m', organisms(`models/${name}/base.gguf`)]
const WITH = [
  ...BASE,
  '--directions',
  organisms(`models/${name}/directions`),
  '--traits',
  organisms('traits.yaml'),
]
const RUN = organisms(`checkpoints/${name}/risky_financial/seed_42`)
const work = new Workspace()

interface Settled {
  side: string
  prompts: number
  of: number
}

describe('--settle', () => {
  const out = work.path('measured')

  it('should measure by fewer prompts, say how many, and write what others can read', async () => {
    const { code, stdout } = await work.run(['measure', ...WITH, RUN, '--settle', '1%', '-o', out])
    expect(code).toBe(3)
    expect(stdout).toMatch(/ {2}> \d\.\d+ {2,}alarm/)
    expect(stdout).toMatch(/ {2}<= \d\.\d+ {2,}ok/)
    const [, read, all] = /(\d+) of (\d+) prompts of the checkpoints were read/.exec(stdout)!
    expect(Number(read)).toBeLessThan(0.75 * Number(all))
    expect(stdout).toMatch(/of a part of the prompts no interval, no probability of danger/)

    const trajectory = JSON.parse(readFileSync(join(out, 'trajectory.json'), 'utf8'))
    expect(schemaErrors('trajectory', trajectory)).toEqual([])
    const { settle } = trajectory.traitscope.measurement
    expect(settle).toEqual({ error: 0.01, read: Number(read), prompts: Number(all) })
    const verdicts = JSON.parse(readFileSync(join(out, 'verdicts.json'), 'utf8'))
    expect(schemaErrors('verdicts', verdicts)).toEqual([])
    const settled: Settled[] = verdicts.flatMap(
      ({ verdict }: { verdict: { settled?: Settled } }) => verdict.settled ?? [],
    )
    expect(new Set(settled.map(({ side }) => side))).toEqual(new Set(['above', 'below']))

    const csv = work.path('points.csv')
    const table = await work.run(['export', out, '-o', csv])
    const report = await work.run(['report', out, '-o', work.path('report.html')])
    expect([table.code, report.code]).toEqual([0, 0])
    expect(readFileSync(csv, 'utf8')).toMatch(new RegExp(`,,,${settled[0]!.prompts},`))
    const html = readFileSync(work.path('report.html'), 'utf8')
    expect(html).toContain(`${settled[0]!.prompts} of ${settled[0]!.of} prompts were read`)
    expect(html).toMatch(/above \d\.\d+ %/)
  })

  it('should tell a watch the same, and not go on from what was read otherwise', async () => {
    const watch = ['watch', ...WITH, RUN, '--once', '--jsonl', '--state', work.path('state')]
    const told = async (more: string[]) => {
      const { code, stdout } = await work.run([...watch, ...more])
      expect(code).toBe(3)
      return stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    }
    const events = await told(['--settle', '1%'])
    for (const event of events) expect(schemaErrors('event', event)).toEqual([])
    const checkpoints = events.filter(({ type }) => type === 'checkpoint')
    const offline = JSON.parse(readFileSync(join(out, 'trajectory.json'), 'utf8')).traitscope.steps
    for (const { step, settled } of checkpoints) {
      const same = offline.find((one: { step: number }) => one.step === step).settled
      // While an alarm stands a rate has to lie further below.
      if (same?.side === 'above') expect(settled).toEqual(same)
    }
    const { prompts } = events.at(-1)
    expect(prompts.read).toBeLessThan(0.75 * prompts.of)
    // All prompts are another measurement.
    const whole = (await told([])).filter(({ type }) => type === 'checkpoint')
    expect(whole).toHaveLength(checkpoints.length)
    for (const { settled, verdict } of whole)
      expect([settled, verdict.settled]).toEqual([undefined, undefined])
  })

  it('should be refused, before any work, where a part of the prompts settles nothing', async () => {
    const refused = async (args: string[], why: RegExp) => {
      const share = args.includes('--settle') ? [] : ['--settle', '1%']
      const { code, stderr } = await work.run(['measure', ...args, RUN, ...share])
      expect(code).not.toBe(0)
      expect(stderr).not.toContain('loading')
      expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(why)
    }
    await refused([...BASE, '--bundle', organisms(`bundles/${name}`)], /forest.*not by one that is linear/)
    await refused([...WITH, '--no-prior'], /expected a bundle, or a prior that speaks/)
    await refused([...WITH, '--adapter-scale', '2'], /several strengths of the adapter/)
    await refused([...WITH, '--activations', 'prompts'], /expected activations none .* found prompts/)
    await refused([...WITH, '--settle', '70%'], /expected an error between 0 and 50 % .* found 70/)
    await refused([...BASE, '--layer', '3'], /tells the order of rates alone and raises no alarm/)
  })
})
