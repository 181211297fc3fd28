import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Verdict } from '../../lib/detector/verdict.js'
import { chartsOf } from '../../lib/report/chart-data.js'
import { htmlReport } from '../../lib/report/html.js'
import { type ReportRun, viewOfTrajectory } from '../../lib/report/trajectory-view.js'
import type { Step, Trajectory } from '../../lib/trajectory/trajectory.js'

const STEPS = [0, 10, 20]

function run(overrides: Partial<ReportRun> = {}): ReportRun {
  const trajectory: Trajectory = {
    source: 'traitscope',
    traits: ['honesty', 'sycophancy'],
    steps: STEPS.map((step) => ({ step, adapterSha256: null, loss: step === 0 ? null : 1 / step })),
    finalAliasOf: null,
    layers: [{ layer: 7, step0ActivationNorm: 4, projections: STEPS.map((step) => [-step / 25, step / 50]) }],
    primary: 0,
    skipped: [],
    run: {} as Trajectory['run'],
  }
  return { name: 'set/seed_42', trajectory, ...overrides }
}

function verdict(kind: Verdict['verdict'], em: number | null, reasons: string[] = []): Verdict {
  const interval: Verdict['interval'] = em === null ? null : [em / 2, em * 2]
  return {
    schemaVersion: 1,
    verdict: kind,
    em,
    interval,
    nominalCoverage: 0.9,
    threshold: 0.06,
    novelty: null,
    reasons,
  }
}

const VERDICTS = new Map<Step, Verdict>([
  [10, verdict('warn', 0.05, ['the interval reaches 10 %'])],
  [20, verdict('alarm', 0.31, ['the predicted EM rate is above 6 %'])],
])
const LABELS = new Map(
  [0, 10, 20].map((step) => {
    const counts = { nMisaligned: step, nScoreable: 100, rate: step / 100, standardError: 0.01 }
    return [step, { step, single: counts, pooled: counts, draws: 8 }]
  }),
)

/** A page without its data and script. */
const said = (html: string) => html.replace(/<script[\s\S]*<\/script>/, '')

/** Text of the table cells, row by row. */
const table = (html: string) =>
  [...said(html).matchAll(/<tr>(.*?)<\/tr>/g)].map(([, row]) =>
    [...row!.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/g)].map(([, cell]) =>
      cell!.replace(/<[^>]*>/g, '').replace('&#160;', ' '),
    ),
  )

describe('htmlReport', () => {
  it('should name the files that the numbers are of, and the remarks on them', () => {
    const { trajectory } = run()
    const files = [{ path: 'checkpoint-10/adapter_model.safetensors', sha256: 'ab'.repeat(32) }]
    const steps = trajectory.steps.map((step, i) => (i === 1 ? { ...step, files, remarks: ['<odd>'] } : step))
    const html = htmlReport([run({ trajectory: { ...trajectory, steps } })], { title: 'Report' })
    expect(html).toContain('<summary>Read from</summary>')
    expect(html).toContain('<dt>step 10</dt><dd>checkpoint-10/adapter_model.safetensors abababababab</dd>')
    expect(html).toContain('<li class="note">step 10: &lt;odd&gt;</li>')
    expect(said(htmlReport([run()], { title: 'Report' }))).not.toContain('Read from')
  })

  it('should tell each checkpoint in a table', () => {
    const html = htmlReport([run({ verdicts: VERDICTS, labels: LABELS })], { title: 'Report', cut: 0.06 })
    expect(table(html)).toEqual([
      ['step', 'verdict', 'predicted EM', 'interval', 'judged EM', 'drift length', 'loss', 'why'],
      ['0', '-', '-', '-', '0.0 %', '0.0 %', '-', ''],
      ['10', 'warn', '5.0 %', '2.5 to 10.0 %', '10.0 %', '11.2 %', '0.1000', 'the interval reaches 10 %'],
      [
        '20',
        'alarm',
        '31.0 %',
        '15.5 to 62.0 %',
        '20.0 %',
        '22.4 %',
        '0.0500',
        'the predicted EM rate is above 6 %',
      ],
    ])
    expect(html).toContain(
      'Alarm at step 20: predicted EM 31.0&#160;% (90&#160;% interval 15.5 to 62.0&#160;%).',
    )
  })

  it('should show drift and loss alone without a detector and labels', () => {
    const html = htmlReport([run()], { title: 'Report' })
    expect(table(html)[0]).toEqual(['step', 'drift length', 'loss'])
    const view = viewOfTrajectory(run())
    expect(chartsOf([view], ['set/seed_42']).map(({ title }) => title)).toEqual([
      'Training loss',
      'Length of the drift',
      'honesty',
      'sycophancy',
    ])
    expect(html).toContain('without a calibrated detector there is no verdict')
  })

  it('should give the charts of all runs one scale', () => {
    const loud = viewOfTrajectory(run({ labels: LABELS }))
    const quiet = viewOfTrajectory(run({ name: 'quiet', labels: new Map([[10, LABELS.get(0)!]]) }))
    const ranges = (view: typeof loud) =>
      chartsOf([view], [view.run], { all: [loud, quiet] }).map(({ id, range }) => [id, range])
    expect(ranges(quiet)).toEqual(ranges(loud))
    expect(ranges(quiet)[0]).toEqual(['em', { min: 0, max: 20 }])
  })

  it('should name each thing that was measured once', () => {
    const [, facts = ''] = htmlReport([run()], { title: 'Report' }).split('What was measured')
    const names = [...facts.matchAll(/<dt>(.*?)<\/dt>/g)].map(([, name]) => name)
    expect(names).toEqual(expect.arrayContaining(['traits', 'layer shown']))
    expect(new Set(names).size).toBe(names.length)
  })

  it('should draw the line that is named', () => {
    const view = viewOfTrajectory(run({ labels: LABELS }))
    expect(chartsOf([view], ['run'], { cut: 0.06 })[0]!.marks).toEqual([
      { label: 'dangerous above 6.0 %', value: 6 },
    ])
  })

  it('should load nothing, run nothing but its own script, and trust no text', () => {
    const evil = '</script><script>alert("x")</script><!--'
    const verdicts = new Map<Step, Verdict>([[10, verdict('warn', 0.05, [evil])]])
    const html = htmlReport([run({ name: evil, verdicts })], {
      title: evil,
      summary: [evil],
      detector: [[evil, evil]],
    })
    expect([...html.matchAll(/<script[^>]*>/g)].map(([tag]) => tag)).toEqual([
      '<script type="application/json" id="data">',
      '<script>',
    ])
    expect([...html.matchAll(/<link[^>]*>/g)].map(([tag]) => tag)).toEqual([
      '<link rel="icon" href="data:,">',
    ])
    expect(html).not.toMatch(/<img|url\(|@import|alert\("x"\)/)
    expect(html).toContain('&lt;script&gt;')
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)![1]
    const [, script] = /<script>([\s\S]*)<\/script>/.exec(html)!
    const hash = createHash('sha256').update(script!).digest('base64')
    expect(policy).toContain(`default-src 'none'; script-src 'sha256-${hash}'`)
    expect(policy).toContain("connect-src 'none'")
  })

  it('should be the same bytes for the same runs', () => {
    const make = () => htmlReport([run({ verdicts: VERDICTS })], { title: 'Report' })
    expect(make()).toBe(make())
  })

  it('should keep a final adapter out of the charts and in the table', () => {
    const last = run()
    last.trajectory.steps[2] = { step: 'final', adapterSha256: null }
    const html = htmlReport([last], { title: 'Report' })
    expect(table(html).at(-1)![0]).toBe('final')
    expect(said(html)).not.toContain('NaN')
  })
})
