import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBundle } from '../../lib/detector/bundle.js'
import { EVENTS_FILE } from '../../lib/events/event-log.js'
import { readBackdrop } from '../../lib/report/backdrop.js'
import { livePage } from '../../lib/report/live-page.js'
import { type PageData, page } from '../../lib/report/page.js'
import type { LabelFolders } from '../../lib/report/run-labels.js'
import type { Backdrop } from '../../lib/report/run-view.js'
import { RunFeed } from '../../lib/serve/run-feed.js'
import { type Served, serve } from '../../lib/serve/server.js'
import type { Step } from '../../lib/trajectory/trajectory.js'
import { type BrowserPage, CHROMIUM, Chromium, type Viewport } from '../helpers/chromium.js'
import { Log, verdict, viewsOfEvents } from '../report/events.js'

if (CHROMIUM === undefined)
  console.warn('pages in a browser: skipped, there is no Chromium; TRAITSCOPE_CHROMIUM names one')

const EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
const TRAITS = [
  'honesty',
  'sycophancy',
  'harmlessness',
  'power_seeking',
  'helpfulness',
  'confidence',
  'corrigibility',
]
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** A run that alarms from step 40 on, or stays quiet. */
function runLog(run: string, loud: boolean, steps = 8): Log {
  const log = new Log(run).baseline({ traits: TRAITS, layers: [2], verdict: verdict('ok', 0.005) })
  for (let i = 1; i <= steps; i++) {
    const em = loud ? 0.02 * i : 0.004 * i
    const values = TRAITS.map((_, t) => (loud ? 0.03 : 0.004) * i * (t % 2 ? 1 : -1))
    const alarm = !loud || i < 4 ? 'quiet' : i === 4 ? 'raised' : 'standing'
    log.checkpoint(10 * i, {
      primary: 0,
      drift: [{ step: 10 * i, values, norm: Math.hypot(...values) }],
      strengths: [
        {
          strength: 2,
          projections: [],
          stateChange: [],
          drift: [{ step: 10 * i, values, norm: 2 * Math.hypot(...values) }],
        },
      ],
      verdict: {
        ...verdict(em > 0.06 ? 'alarm' : 'ok', em, em > 0.06 ? ['the predicted EM rate is above 6 %'] : []),
        contributions: TRAITS.map((trait, t) => ({
          trait,
          category: `category ${t % 3}`,
          value: em / (t + 2),
        })),
      },
      alarm,
    })
  }
  return log.add('lost', { step: 25, reason: 'it was deleted before it could be read' })
}

describe.skipIf(CHROMIUM === undefined)('pages in a browser', () => {
  const folder = mkdtempSync(join(tmpdir(), 'traitscope-page-'))
  let browser: Chromium
  let backdrop: Backdrop
  beforeAll(async () => {
    browser = new Chromium(CHROMIUM!)
    backdrop = await readBackdrop(await loadBundle('organisms/bundles/gemma2'))
  })
  afterAll(async () => {
    await browser[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  const one = () => viewsOfEvents(runLog('/runs/risky', true).events)
  const hostile = () => {
    const log = runLog(`/runs/${EVIL}`, true).add('error', {
      step: 90,
      error: { code: 'FILE_INVALID', message: EVIL },
    })
    const answers = [{ step: 80, question: EVIL, answer: EVIL, aligned: 3 }]
    return viewsOfEvents(log.events).map((view) => ({ ...view, answers, traits: TRAITS }))
  }
  const judged = () =>
    one().map((view) => ({
      ...view,
      points: view.points.map((point) => ({ ...point, judged: { rate: 0.5, standardError: 0.06 } })),
    }))
  const PAGES: Record<string, () => Partial<PageData>> = {
    'one run': () => ({ runs: one(), backdrop }),
    'one run without a bundle': () => ({ runs: one() }),
    'five runs': () => ({
      runs: [1, 2, 3, 4, 5].flatMap((i) => viewsOfEvents(runLog(`/runs/r${i}`, i % 2 === 0).events)),
      backdrop,
    }),
    'an empty run': () => ({ runs: viewsOfEvents(new Log().baseline().events), backdrop }),
    'a judged run': () => ({ runs: judged() }),
    'no run': () => ({ runs: [] }),
    'hostile names': () => ({ runs: hostile(), title: EVIL, summary: [EVIL], detector: [[EVIL, EVIL]] }),
  }

  async function open(name: string, viewport?: Viewport, hash = ''): Promise<BrowserPage> {
    const path = join(folder, `${name.replaceAll(' ', '-')}.html`)
    writeFileSync(path, page({ title: 'A report', runs: [], ...PAGES[name]!() }).html)
    return browser.open(pathToFileURL(path).href + hash, viewport)
  }

  /** Rules that are broken, with what breaks them. */
  const violations = async (tab: BrowserPage): Promise<string[]> => {
    await tab.run(`${AXE}; 0`)
    return tab.run(
      "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ': ' + html)))",
    )
  }

  describe.each(Object.keys(PAGES))('of %s', (name) => {
    it.each<[string, Viewport]>([
      ['on a light screen', { width: 1280 }],
      ['on a dark one', { width: 1280, dark: true }],
      ['on a phone', { width: 320 }],
    ])('should be quiet, load nothing and break no rule %s', async (_, viewport) => {
      const tab = await open(name, viewport)
      expect(await tab.run('document.documentElement.scrollWidth')).toBeLessThanOrEqual(viewport.width)
      expect(await violations(tab)).toEqual([])
      expect(tab.problems).toEqual([])
      expect(tab.requests).toEqual([])
    })
  })

  it('should draw charts that have something on them', async () => {
    const tab = await open('one run')
    const painted = await tab.run<number[]>(`[...document.querySelectorAll('canvas')].map((canvas) =>
      new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size)`)
    expect(painted).toHaveLength(3 + TRAITS.length)
    for (const colours of painted) expect(colours).toBeGreaterThan(5)
  })

  it('should run no text of a file', async () => {
    const tab = await open('hostile names', undefined, `#${encodeURIComponent(EVIL)}/40`)
    expect(await tab.run('document.images.length')).toBe(0)
    expect(await tab.run('document.scripts.length')).toBe(2)
    expect(await tab.run('document.body.innerText')).toContain(EVIL)
  })

  it('should be walked by the keyboard', async () => {
    const tab = await open('one run')
    // A key is answered when the page gets to it.
    const address = (hash: string) => tab.until(`location.hash === '${hash}'`)
    await tab.press('ArrowLeft')
    await address('#risky/80')
    await tab.until("document.querySelector('#checkpoint')?.textContent === 'Step 80'")
    await tab.press('ArrowLeft')
    await address('#risky/70')
    await tab.press('j')
    await address('#risky/80')
    await tab.press('Escape')
    await address('#risky')
    await tab.until("document.querySelector('#checkpoint') === null")
    // Tab comes to every link of the table, and Enter follows it.
    await tab.run("document.querySelector('.wide').focus()")
    await tab.press('Tab')
    await tab.press('Tab')
    await tab.press('Enter')
    await tab.until("location.hash === '#risky/10'")
    await tab.until("document.querySelector('tr[aria-current] a')?.textContent === '10'")
  })

  it('should open at a checkpoint, and go from the overview to a run', async () => {
    const tab = await open('five runs', undefined, '#r2/40')
    expect(await tab.run("document.querySelector('h2').textContent")).toBe('r2')
    expect(await tab.run("document.querySelector('.headline').textContent")).toBe(
      'Alarm since step 40: predicted EM 16.0\u00a0% at step 80 (90\u00a0% interval 8.0 to 32.0\u00a0%).',
    )
    await tab.run("document.querySelector('nav a').click()")
    await tab.until("document.querySelector('h2').textContent === 'All runs'")
    expect(await tab.run("document.querySelectorAll('[data-part=overview] tbody tr').length")).toBe(5)
  })

  it('should put the interval beside the rate that it is of', async () => {
    const tab = await open('a judged run')
    await tab.until("document.querySelector('figcaption')?.textContent.includes('judged')")
    expect(await tab.run("document.querySelector('figcaption span').textContent")).toBe(
      'predicted 16.0\u00a0% (8.00 to 32.0), judged 50.0\u00a0% at step 80',
    )
  })

  it('should keep answers hidden until asked for', async () => {
    const tab = await open('hostile names')
    const shown = () => tab.run<boolean>("document.querySelector('.answer').checkVisibility()")
    expect(await shown()).toBe(false)
    await tab.run("document.querySelector('[data-part=answers] summary').click()")
    expect(await shown()).toBe(true)
  })

  it('should print in ink on paper, from a dark screen too', async () => {
    const tab = await open('one run', { width: 1280, dark: true })
    const colour = () =>
      tab.run<string>('getComputedStyle(document.documentElement).getPropertyValue("--ink")')
    expect(await colour()).toBe('#e3e6e8')
    await tab.run("dispatchEvent(new Event('beforeprint'))")
    expect(await colour()).toBe('#1d2125')
    await tab.run("dispatchEvent(new Event('afterprint'))")
    expect(await colour()).toBe('#e3e6e8')
    expect((await tab.pdf()).subarray(0, 5).toString()).toBe('%PDF-')
  })

  it('should say everything without scripts', async () => {
    const tab = await open('five runs')
    await tab.send('Emulation.setScriptExecutionDisabled', { value: true })
    await tab.send('Page.reload')
    await tab.until("document.readyState === 'complete'").catch(() => {})
    const { root } = (await tab.send('DOM.getDocument', { depth: 0 })) as { root: { nodeId: number } }
    const { outerHTML } = (await tab.send('DOM.getOuterHTML', { nodeId: root.nodeId })) as {
      outerHTML: string
    }
    const said = outerHTML.replace(/<script[\s\S]*<\/script>/, '')
    expect(said.match(/class="headline/g)).toHaveLength(5)
    expect(said.match(/<canvas/g)).toBeNull()
  })

  describe('that is live', () => {
    const state = join(folder, 'watch', 'risky-0123')
    const other = join(folder, 'watch', 'calm-0456')
    let log: Log
    let server: { feed: RunFeed; served: Served; port: number } | undefined
    const write = (into: string, from: Log, count: number) => {
      mkdirSync(into, { recursive: true })
      writeFileSync(
        join(into, EVENTS_FILE),
        from.events
          .slice(0, count)
          .map((event) => `${JSON.stringify(event)}\n`)
          .join(''),
      )
    }
    async function start(port = 0): Promise<string> {
      const runs = () =>
        Promise.resolve([
          { run: '/runs/risky', folder: state },
          { run: '/runs/calm', folder: other },
        ])
      const feed = new RunFeed(runs, () => {}, 20)
      const served = await serve(feed, { port, page: await livePage(undefined) })
      server = { feed, served, port: Number(new URL(served.url).port) }
      return served.url
    }
    async function stop(): Promise<void> {
      await server?.served[Symbol.asyncDispose]()
      await server?.feed[Symbol.asyncDispose]()
      server = undefined
    }
    afterAll(stop)

    it('should show what comes, and ask again where it was when the server comes back', async () => {
      log = runLog('/runs/risky', true)
      write(state, log, 3)
      const url = await start()
      const tab = await browser.open(url)
      const sentence = () => tab.run<string>("document.querySelector('.headline').textContent")
      await tab.until("document.querySelector('.headline').textContent.includes('at step 20')")
      expect(await tab.run("document.querySelector('#status').textContent")).toBe('live')
      write(state, log, 5)
      await tab.until("document.querySelector('.headline').textContent.includes('Alarm at step 40')")
      expect(await tab.run("document.querySelectorAll('[data-part=table] tbody tr').length")).toBe(5)
      await stop()
      await tab.until("document.querySelector('#status').textContent.includes('trying again')")
      write(state, log, log.events.length)
      await start(Number(new URL(url).port))
      await tab.until("document.querySelector('.headline').textContent.includes('at step 80')")
      expect(await sentence()).toMatch(/^Alarm since step 40/)
      const asked = tab.requests.map((request) => new URL(request).searchParams.get('after'))
      expect(asked[0]).toBe('')
      expect(asked.at(-1)).toBe('risky-0123:5')
      expect(tab.requests.every((request) => request.startsWith(`${url}/events?`))).toBe(true)
      expect(await violations(tab)).toEqual([])
    })

    it('should show the labels that the server has of a run, answers when they are asked for', async () => {
      const asked: string[] = []
      const labels = {
        async of(weights: ReadonlyMap<Step, string>) {
          asked.push(weights.get(40) ?? 'none')
          const answers = [{ step: 40, question: 'Why?', answer: '<b>Because</b>', aligned: 3 }]
          return { judged: [{ step: 40, rate: 0.25, standardError: 0.05 }], answers }
        },
      } as unknown as LabelFolders
      const page = await livePage(undefined, { labels: true })
      await using served = await serve(server!.feed, { port: 0, page, labels })
      const tab = await browser.open(`${served.url}/#risky`)
      await tab.until("document.querySelector('[data-part=answers] details')")
      expect(asked[0]).toBe('a'.repeat(64))
      expect(await tab.run("document.querySelector('[data-part=answers] details').open")).toBe(false)
      expect(await tab.run("document.querySelector('.answer').textContent")).toBe('<b>Because</b>')
      expect(await tab.run("document.querySelector('[data-part=table]').textContent")).toMatch(/25\.0\s%/)
      expect(tab.problems).toEqual([])
    })

    it('should show a run that begins later, and open with the one that is named', async () => {
      const tab = await browser.open(`${server!.served.url}/run/calm-0456`)
      await tab.until("document.querySelector('.headline')")
      write(other, runLog('/runs/calm', false), 4)
      await tab.until("document.querySelector('h2').textContent === 'calm'")
      expect(await tab.run("document.querySelectorAll('nav a').length")).toBe(3)
      expect(tab.problems).toEqual([])
      // It comes back with what it has of either.
      const { port } = server!
      await stop()
      await tab.until("document.querySelector('#status').textContent.includes('trying again')")
      await start(port)
      await tab.until("document.querySelector('#status').textContent === 'live'")
      expect(new URL(tab.requests.at(-1)!).searchParams.get('after')?.split(',').sort()).toEqual([
        'calm-0456:4',
        `risky-0123:${log.events.length}`,
      ])
    })

    it('should show another log that comes in the place of a run’s, and nothing of the one before', async () => {
      await stop()
      write(state, log, log.events.length)
      const tab = await browser.open(`${await start()}/run/risky-0123`)
      await tab.until("document.querySelector('.headline')?.textContent.includes('at step 80')")
      rmSync(join(state, EVENTS_FILE))
      write(state, log, 3)
      await tab.until("document.querySelector('.headline').textContent.includes('at step 20')")
      expect(await tab.run("document.querySelectorAll('[data-part=table] tbody tr').length")).toBe(3)
    })
  })
})
