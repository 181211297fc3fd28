import { describe, expect, it } from 'vitest'
import type { Verdict } from '../../lib/detector/verdict.js'
import { applyEvent } from '../../lib/report/apply-event.js'
import { chartsOf } from '../../lib/report/chart-data.js'
import { checkpointTable, contributionsHtml, notesHtml, overviewHtml } from '../../lib/report/page-parts.js'
import { planeSvg } from '../../lib/report/plane.js'
import { runParts } from '../../lib/report/run-section.js'
import { type Backdrop, startRun } from '../../lib/report/run-view.js'
import { ageWords, cadence, headline, shortNames } from '../../lib/report/sentences.js'
import { Log, margin, RUN, TRAITS, verdict, viewsOfEvents } from './events.js'

const view = (log: Log) => viewsOfEvents(log.events)[0]!
const WARNED = verdict('warn', 0.05, ['the interval reaches 10 %'])

const BACKDROP: Backdrop = {
  layer: 7,
  traits: TRAITS,
  cut: 0.06,
  threshold: 0.06,
  nominalCoverage: 0.9,
  benign: {
    runs: 5,
    share: 0.9,
    steps: [0, 20],
    traits: [
      [
        [0, 0],
        [-0.01, 0.01],
      ],
      [
        [0, 0],
        [-0.02, 0.02],
      ],
    ],
    length: [
      [0, 0],
      [0, 0.04],
    ],
  },
  plane: {
    axes: [
      [1, 0],
      [0, 1],
    ],
    shares: [0.8, 0.1],
    ghosts: [
      {
        name: 'benign run',
        dangerous: false,
        path: [
          [0, 0],
          [0.01, 0.01],
        ],
      },
    ],
  },
}

describe('viewsOfEvents', () => {
  it('should show the layer that the verdict is about, and step 0', () => {
    const { layer, points, traits } = view(new Log().baseline().checkpoint(10))
    expect([layer, traits]).toEqual([7, TRAITS])
    expect(points.map(({ step, drift, length }) => [step, drift, length])).toEqual([
      [0, [0, 0], 0],
      [10, [-0.01, 0.005], 0.01],
    ])
  })

  it('should keep points by step, whatever the order, and one per step', () => {
    const log = new Log().baseline().checkpoint('final').checkpoint(30).checkpoint(10)
    log.checkpoint(30, { remeasured: true, loss: 7 })
    const { points, notes } = view(log)
    expect(points.map(({ step }) => step)).toEqual([0, 10, 30, 'final'])
    expect(points[2]!.loss).toBe(7)
    expect(notes.at(-1)).toMatchObject({ step: 30, text: 'measured again: its weights have changed' })
  })

  it('should take an event once', () => {
    const log = new Log().baseline().add('lost', { step: 5, reason: 'rotated away' })
    const run = startRun(RUN)
    for (const event of [...log.events, ...log.events]) applyEvent(run, event)
    expect([run.lost, run.notes.length, run.seq]).toEqual([1, 2, 2])
  })

  it('should tell runs apart', () => {
    const [a, b] = [new Log('/runs/a').baseline(), new Log('/runs/b').baseline().checkpoint(1)]
    const views = viewsOfEvents([a.events[0]!, b.events[0]!, b.events[1]!])
    expect(views.map(({ run, points }) => [run, points.length])).toEqual([
      ['/runs/a', 1],
      ['/runs/b', 2],
    ])
  })

  it('should not join what was measured under other conditions, and say so', () => {
    const log = new Log().baseline().checkpoint(10).checkpoint(20)
    const { points, notes } = view(log.baseline({ conditions: 'c2' }).checkpoint(30))
    expect(points.map(({ step }) => step)).toEqual([0, 30])
    expect(notes.map(({ text }) => text)).toContain(
      'measured under other conditions from here on; 2 earlier checkpoints are left out',
    )
  })

  it('should let no alarm outlive the conditions under which it was raised', () => {
    const log = new Log().baseline().checkpoint(10, { alarm: 'raised', verdict: verdict('alarm', 0.3) })
    const anew = view(log.baseline({ conditions: 'c2' }))
    expect([anew.alarm, anew.alarmAt, headline(anew).standing]).toEqual([undefined, undefined, 'none'])
  })

  it('should know of an alarm that stands, of which this log says nothing else', () => {
    const resumed = { lastEvent: '', measured: 3, secured: 0, alarm: 'standing' as const }
    const log = new Log().baseline({ resumed })
    expect(headline(view(log))).toMatchObject({ standing: 'alarm', text: expect.stringMatching(/stands/) })
    log.checkpoint(40, { verdict: verdict('ok', 0.01), alarm: 'standing' })
    expect(headline(view(log))).toMatchObject({ standing: 'alarm' })
  })

  it('should list what went wrong in sentences', () => {
    const log = new Log()
      .baseline()
      .add('gap', { after: 10, before: 40, every: 10, count: 2, reason: 'no watch ran' })
      .add('lost', { step: 50, reason: 'it was deleted' })
      .add('falling-behind', { backlog: 4, advice: 'use --nice' })
      .add('error', { step: 60, error: { code: 'FILE_INVALID', message: 'a torn file' } })
      .checkpoint(70, { loss: null as never })
      .add('end', { reason: 'idle', measured: 3, lost: 1, unfinished: [80] })
    expect(view(log).notes.map(({ kind, step, text }) => [kind, step, text])).toEqual([
      ['note', undefined, 'watching'],
      [
        'gap',
        undefined,
        'no watch has seen what came between step 10 and step 40 (2 checkpoints, saved every 10 steps): no watch ran',
      ],
      ['lost', 50, 'lost: it was deleted'],
      ['late', undefined, 'falling behind, 4 checkpoints wait: use --nice'],
      ['error', 60, 'a torn file [FILE_INVALID]'],
      ['error', 70, 'the training loss is no number: the run has diverged'],
      ['note', undefined, 'the watch ended (idle): 3 checkpoints measured, 1 lost, not measured: step 80'],
    ])
  })

  it('should say what a part of the prompts settled, where an interval stands otherwise', () => {
    const settled = { side: 'above', threshold: 0.06, error: 0.01, prompts: 9, of: 99, by: '' } as const
    const log = new Log()
      .baseline()
      .checkpoint(10, { alarm: 'raised', verdict: { ...verdict('alarm', 0.3), interval: null, settled } })
      .add('end', { reason: 'idle', measured: 1, lost: 0, unfinished: [], prompts: { read: 9, of: 99 } })
    expect(headline(view(log)).text).toBe(
      'Alarm at step 10: predicted EM 30.0 % (of 9 of 99 prompts, which settle that it is above 6.0 %).',
    )
    expect(view(log).notes.at(-1)!.text).toBe(
      'the watch ended (idle): 1 checkpoints measured, by 9 of 99 prompts',
    )
  })

  it('should keep the last notes and count the others', () => {
    const log = new Log().baseline()
    for (let i = 0; i < 250; i++) log.add('lost', { step: i, reason: 'gone' })
    const { notes, notesDropped, lost } = view(log)
    expect([notes.length, notesDropped, lost]).toEqual([200, 51, 250])
    expect(notesHtml({ notes, notesDropped })).toContain('51 earlier ones are in the log')
  })
})

describe('headline', () => {
  const ALARM = verdict('alarm', 0.31, ['the predicted EM rate is above 6 %'])
  it.each([
    ['nothing', new Log(), 'Nothing is measured yet.'],
    ['a start', new Log().baseline(), 'No checkpoint yet.'],
    [
      'a run that is waited for',
      new Log().baseline().add('waiting', { reason: 'the run folder does not exist yet' }),
      'No checkpoint yet: the run folder does not exist yet.',
    ],
    [
      'no bundle',
      new Log().baseline().checkpoint(10),
      'Drift 1.0 % of the step-0 norm at step 10; without a calibrated detector there is no verdict.',
    ],
    [
      'a quiet run',
      new Log().baseline().checkpoint(10, { verdict: verdict('ok', 0.01), alarm: 'quiet' }),
      'No alarm: predicted EM 1.0 % at step 10 (90 % interval 0.5 to 2.0 %).',
    ],
    [
      'a warning',
      new Log().baseline().checkpoint(10, { verdict: WARNED, alarm: 'quiet' }),
      'Warning: predicted EM 5.0 % at step 10 (90 % interval 2.5 to 10.0 %).',
    ],
    [
      'an alarm',
      new Log().baseline().checkpoint(10, { verdict: ALARM, alarm: 'raised' }),
      'Alarm at step 10: predicted EM 31.0 % (90 % interval 15.5 to 62.0 %).',
    ],
    [
      'an alarm that stands under a better verdict',
      new Log()
        .baseline()
        .checkpoint(10, { verdict: ALARM, alarm: 'raised' })
        .checkpoint(20, { verdict: WARNED, alarm: 'standing' }),
      'Alarm since step 10: predicted EM 5.0 % at step 20 (90 % interval 2.5 to 10.0 %).',
    ],
    [
      'an alarm that began before the checkpoint that was measured first',
      new Log()
        .baseline()
        .checkpoint(30, { verdict: ALARM, alarm: 'raised' })
        .checkpoint(10, { verdict: WARNED, alarm: 'standing' })
        .checkpoint(20, { verdict: ALARM, alarm: 'standing' }),
      'Alarm since step 20: predicted EM 31.0 % at step 30 (90 % interval 15.5 to 62.0 %).',
    ],
    [
      'an alarm that stands in a log that was begun anew',
      new Log()
        .baseline({ resumed: { lastEvent: '', measured: 3, secured: 0, alarm: 'standing' } })
        .checkpoint(40, { verdict: WARNED, alarm: 'standing' }),
      'Alarm since step 40: predicted EM 5.0 % at step 40 (90 % interval 2.5 to 10.0 %).',
    ],
    [
      'an alarm that was cleared',
      new Log()
        .baseline()
        .checkpoint(10, { verdict: ALARM, alarm: 'raised' })
        .checkpoint(20, { verdict: verdict('ok', 0.01), alarm: 'cleared' }),
      'No alarm: predicted EM 1.0 % at step 20 (90 % interval 0.5 to 2.0 %). The alarm of step 10 is cleared.',
    ],
    [
      'other conditions',
      new Log().baseline().checkpoint(10, { verdict: verdict('not-comparable', null, ['another base']) }),
      'Not comparable at step 10.',
    ],
    [
      'a rate just above the threshold',
      new Log().baseline().checkpoint(10, { verdict: verdict('alarm', 0.06004), alarm: 'raised' }),
      'Alarm at step 10: predicted EM 6.004 % (90 % interval 3.0 to 12.0 %).',
    ],
  ])('should tell %s', (_, log, text) => {
    const run = startRun(RUN)
    for (const event of log.events) applyEvent(run, event)
    expect(headline(run).text).toBe(text)
  })
})

describe('ageWords', () => {
  const log = () => new Log().baseline().checkpoint(10).checkpoint(20).checkpoint(30)

  it('should say how old the last measurement is and when the next is due', () => {
    const watched = log()
    const last = Date.parse(watched.events.at(-1)!.time)
    expect(cadence(view(watched))).toEqual({ secondsBetween: 60, dueAt: last + 55_000 })
    expect(ageWords(view(watched), last + 12_000)).toBe('Measured 12 s ago, next due in about 43 s.')
    expect(ageWords(view(watched), last + 600_000)).toBe('Measured 10 min ago, the next was due 9 min ago.')
  })

  it('should expect nothing of a watch that has ended, until it begins again', () => {
    const ended = log().add('end', { reason: 'idle', measured: 3, lost: 0, unfinished: [] })
    expect(ageWords(view(ended), ended.now + 240_000)).toBe('The watch ended 5 min ago (idle).')
    expect(ageWords(view(ended.baseline()), ended.now)).toMatch(/^Measured 3 min ago, the next was due/)
  })

  it('should not guess a rhythm from one checkpoint', () => {
    const one = new Log().baseline().checkpoint(10)
    expect(ageWords(view(one), one.now)).toBe('Measured 60 s ago.')
  })
})

describe('shortNames', () => {
  it('should not compare each run with each other: a frame is drawn every second', () => {
    const runs = Array.from({ length: 8000 }, (_, i) => `/data/sweep/lr_${i}/out`)
    const before = process.cpuUsage()
    expect(shortNames(runs).at(-1)).toBe('lr_7999/out')
    expect(process.cpuUsage(before).user / 1e6).toBeLessThan(1)
  })

  it('should be as short as tells runs apart, and never a seed alone', () => {
    expect(shortNames(['/a/b/out', '/a/c/out', '/a/other'])).toEqual(['b/out', 'c/out', 'other'])
    expect(shortNames(['/runs/medical/seed_1'])).toEqual(['medical/seed_1'])
    expect(shortNames(['C:\\runs\\x'])).toEqual(['x'])
    expect(shortNames(['set/seed_42', '<b>/x'])).toEqual(['set/seed_42', '<b>/x'])
  })
})

describe('a margin', () => {
  const run = (low: number, more = {}) =>
    view(new Log().baseline().checkpoint(10, { margin: margin(low, 0.36), ...more }))

  it('should be the warning where nothing gives a verdict', () => {
    expect(headline(run(0.04))).toEqual({
      standing: 'warn',
      text: 'Warning by the margin: drift 1.0 % of the step-0 norm at step 10; without a calibrated detector there is no verdict.',
      reasons: [
        expect.stringMatching(/by 0.200 nats per token \(95 % interval 0.040 to 0.360\) over 13 questions$/),
      ],
    })
    expect(headline(run(-0.04))).toMatchObject({ standing: 'none', reasons: [] })
    // Verdicts have it among their reasons.
    expect(headline(run(0.04, { verdict: verdict('ok', 0.01) })).standing).toBe('ok')
  })

  it('should be the sentence where benign runs decide by it', () => {
    const by = {
      ...verdict('alarm', null, ['why']),
      margin: { ...margin(0.04, 0.36), pValue: 0.05, threshold: 0.1 },
    }
    expect(headline(run(0.04, { verdict: by, alarm: 'raised' }))).toEqual({
      standing: 'alarm',
      text: 'Alarm at step 10: margin +0.200 nats per token, p = 0.050 among benign runs.',
      reasons: ['why'],
    })
    expect(headline(run(0.04, { verdict: { ...by, verdict: 'ok' } })).text).toMatch(
      /^No alarm: margin \+0\.200/,
    )
    const { checkpoint } = runParts(run(0.04, { verdict: by }), 'out', { selected: 10 })
    expect(checkpoint).not.toContain('predicted EM')
  })

  it('should stand in the table, and be missed by name where no pairs were read', () => {
    const { table, missing, checkpoint } = runParts(run(0.04), 'out', { selected: 10 })
    expect(table).toContain('<td>+0.200 (+0.040 to +0.360)</td>')
    expect(checkpoint).toContain('misaligned answers against aligned ones, over 13 questions')
    expect(missing).not.toContain('margin')
    const without = runParts(view(new Log().baseline().checkpoint(10)), 'out', {})
    expect(without.table).not.toContain('margin')
    expect(without.missing).toContain('the margin: no pairs of answers were read (--margin core)')
  })
})

describe('chartsOf', () => {
  const strengths = [
    {
      strength: 2,
      projections: [],
      stateChange: [],
      drift: [0.2, 0.05].map((norm) => ({ step: 10, values: [0, 0], norm })),
    },
  ]
  const log = new Log()
    .baseline({ verdict: verdict('ok', 0.01) })
    .checkpoint(10, { verdict: verdict('alarm', 0.2), strengths })
    .checkpoint(30)

  it('should put every curve on one axis of steps', () => {
    const charts = chartsOf([view(log)], ['out'], { backdrop: BACKDROP })
    expect(charts.map(({ id, steps }) => [id, steps])).toEqual(
      ['em', 'loss', 'length', 'trait-0', 'trait-1'].map((id) => [id, [0, 10, 30]]),
    )
    const [em, , length, honesty] = charts
    expect(em!.curves[0]!.values).toEqual([1, 20, null])
    expect(em!.band).toEqual({ label: '90 % interval', low: [0.5, 10, null], high: [2, 40, null] })
    expect(length!.curves.map(({ label, style, values }) => [label, style, values])).toEqual([
      ['as trained', 'line', [0, 1, 3]],
      ['at strength 2', 'dashed', [null, 5, null]],
    ])
    // Halfway between the calibration's steps, and nothing beyond them.
    expect(honesty!.band).toEqual({
      label: '90 % of 5 benign runs',
      low: [0, -0.5, null],
      high: [0, 0.5, null],
    })
  })

  it('should draw the margin with its interval, where pairs were read', () => {
    const read = new Log()
      .baseline()
      .checkpoint(10, { margin: margin(0.25, 0.75) })
      .checkpoint(20)
    const chart = chartsOf([view(read)], ['out']).find(({ id }) => id === 'margin')!
    expect(chart.curves[0]!.values).toEqual([null, 0.5, null])
    expect(chart.band).toEqual({ label: '95 % interval', low: [null, 0.25, null], high: [null, 0.75, null] })
    expect(chart.range).toEqual({ min: 0, max: 0.75 })
    expect(chart.marks).toEqual([])
  })

  it('should mark the threshold that decides: of the margin or the rate, and none of a rate that benign runs rank', () => {
    const marks = (by: Verdict) => {
      const read = new Log().baseline().checkpoint(10, { margin: margin(0.25, 0.75), verdict: by })
      const charts = chartsOf([view(read)], ['out'])
      return ['em', 'margin'].map((id) => charts.find((one) => one.id === id)?.marks)
    }
    const benign = { basis: 'benign' as const }
    const tested = { ...margin(0.25, 0.75), pValue: 0.2, threshold: 0.9 }
    expect(marks(verdict('ok', 0.01))).toEqual([
      [expect.objectContaining({ label: 'alarm above 6.0 %' })],
      [],
    ])
    expect(marks({ ...verdict('ok', 0.01), ...benign })).toEqual([[], []])
    expect(marks({ ...verdict('ok', null), ...benign, margin: tested })).toEqual([
      undefined,
      [{ label: 'alarm above +0.900', value: 0.9 }],
    ])
  })

  it('should show no band of another layer, and say why', () => {
    const other = { ...BACKDROP, layer: 3 }
    expect(
      chartsOf([view(log)], ['out'], { backdrop: other }).every(({ id, band }) => id === 'em' || !band),
    ).toBe(true)
    expect(planeSvg([view(log)], ['out'], other)).toBe('')
    expect(runParts(view(log), 'out', { backdrop: other }).missing).toContain(
      'drawn at layer 3, the run is shown at layer 7',
    )
  })

  it('should lay several runs over one another', () => {
    const other = new Log('/runs/b').baseline().checkpoint(20)
    const [a, b] = viewsOfEvents([...log.events, ...other.events])
    const length = chartsOf([a!, b!], ['out', 'b']).find(({ id }) => id === 'length')!
    expect(length.curves.map(({ label, values }) => [label, values])).toEqual([
      ['out', [0, 1, null, 3]],
      ['b', [0, null, 2, null]],
    ])
  })
})

describe('parts of the page', () => {
  const evil = '"><img src=x onerror=alert(1)>\u202e\u001b[2J'
  const hostile = new Log(`/runs/${evil}`)
    .baseline({ traits: [evil, 'sycophancy'] })
    .checkpoint(10, {
      verdict: {
        ...verdict('warn', 0.05, [evil]),
        labels: {
          judge: { kind: 'endpoint', name: evil, version: evil, reader: 'sampled' },
          ...{ questionsSha256: evil, rule: 'reference', auroc: null },
        },
        contributions: [{ trait: evil, value: 0.1 }],
        categoryContributions: [{ category: evil, value: 0.1 }],
      },
      remarks: [evil],
      files: [{ path: evil, sha256: 'ab'.repeat(32) }],
    })
    .add('lost', { step: 5, reason: evil })

  it('should trust no text', () => {
    const run = { ...view(hostile), answers: [{ step: 10, question: evil, answer: evil, aligned: 3 }] }
    const traits = [evil, 'sycophancy']
    const ghosts = [{ ...BACKDROP.plane!.ghosts[0]!, name: evil }]
    const backdrop = { ...BACKDROP, traits, plane: { ...BACKDROP.plane!, ghosts } }
    const parts = runParts(run, evil, { backdrop, selected: 10, now: hostile.now })
    for (const [part, html] of Object.entries(parts)) {
      for (const bad of ['<img', '\u202e', '\u001b']) expect(html, part).not.toContain(bad)
      // No attribute ends early.
      expect(html.replace(/<[^>]*>/g, ''), part).not.toContain('<')
    }
    expect(Object.values(parts).join('')).toContain('&lt;img')
  })

  it('should link every checkpoint', () => {
    expect(checkpointTable(view(new Log().baseline().checkpoint(10)), 'a/b')).toContain(
      '<a href="#a%2Fb/10">10</a>',
    )
  })

  it('should say wherever a verdict stands that it is provisional, and its reasons once', () => {
    const told = (rate: number): Verdict => ({
      ...verdict('ok', rate, ['no judged run is known']),
      basis: 'prior',
    })
    const log = new Log().baseline()
    for (const step of [10, 20]) log.checkpoint(step, { verdict: told(0.01) })
    log.checkpoint(30, { verdict: { ...told(0.02), reasons: ['another'] } })
    const html = checkpointTable(view(log), 'out')
    expect(html.match(/ok, provisional</g)).toHaveLength(3)
    const whys = [...html.matchAll(/<td class="text">(.*?)<\/td>/g)].map(([, text]) => text)
    expect(whys.slice(-3)).toEqual(['no judged run is known', 'as before', 'another'])
    expect(overviewHtml([view(log)], ['out'], undefined)).toContain('ok, provisional<')
    const [rates] = chartsOf([view(log)], ['out'])
    expect(rates!.marks![0]!.label).toBe('provisional threshold 6.0 %')
  })

  it('should show the last rows and offer the others', () => {
    const log = new Log().baseline()
    for (let step = 1; step <= 20; step++) log.checkpoint(step)
    const html = checkpointTable(view(log), 'out', { limit: 5 })
    expect(html.match(/<tr>/g)).toHaveLength(6)
    expect(html).toContain('Show 16 earlier ones')
    expect(checkpointTable(view(log), 'out', { limit: 5, scripted: false })).toContain(
      '16 earlier ones are left out here',
    )
  })

  it('should show what a prediction is made of, by prompts and by traits', () => {
    const made = (contributions: object[], categoryContributions: object[]) =>
      contributionsHtml({
        ...view(new Log().baseline()).points[0]!,
        verdict: {
          ...WARNED,
          contributions: contributions as never,
          categoryContributions: categoryContributions as never,
        },
      })
    const html = made(
      [
        { trait: 'sycophancy', value: -0.05 },
        { trait: 'honesty', value: 0.03 },
      ],
      [
        { category: 'advice', value: -0.03 },
        { category: 'stories', value: 0.01 },
      ],
    )
    const rows = [...html.matchAll(/<th scope="row">(.*?)<\/th>.*?<td>([^<]*)<\/td><\/tr>/g)].map(
      ([, name, value]) => [name, value],
    )
    expect(rows).toEqual([
      ['advice', '−3.0&#160;%'],
      ['stories', '+1.0&#160;%'],
      ['sycophancy', '−5.0&#160;%'],
      ['honesty', '+3.0&#160;%'],
    ])
    expect(made([], [])).toBe('')
  })

  it('should say what is not shown', () => {
    const { missing } = runParts(view(new Log().baseline().checkpoint(10)), 'out', {})
    for (const part of ['no bundle is named', 'the amplified curve', 'judged rates', 'answers'])
      expect(missing).toContain(part)
  })
})
