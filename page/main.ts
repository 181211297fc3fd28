/** The page's script: puts parts in their places, draws charts, follows links, keys and what comes. */
import { backlogAfter } from '../lib/events/backlog.js'
import { applyEvent } from '../lib/report/apply-event.js'
import { applyLabels } from '../lib/report/apply-labels.js'
import { type ChartData, chartsOf } from '../lib/report/chart-data.js'
import type { PageData } from '../lib/report/page.js'
import { ageHtml, permalink, prose } from '../lib/report/page-parts.js'
import {
  compareParts,
  type Parts,
  runHeading,
  runLinks,
  runParts,
  sectionHtml,
} from '../lib/report/run-section.js'
import { type Point, type RunView, startRun } from '../lib/report/run-view.js'
import { shortNames } from '../lib/report/sentences.js'
import { Chart, DASHES } from './charts.js'
import { follow, labelsOf } from './live.js'

/** Rows of a table that are shown at first. */
const ROWS = 100
const TICK_MS = 1000
const LABELS_MS = 30_000

const data: PageData = JSON.parse(document.querySelector('#data')!.textContent!)
const views: RunView[] = [...data.runs]
const main = document.querySelector<HTMLElement>('#page')!
const nav = document.querySelector<HTMLElement>('#runs')!
const status = document.querySelector<HTMLElement>('#status')!
const sync = uPlot.sync('steps')

/** `/run/ID` opens with that run; what the page asks for lies beside `/`. */
const OF_RUN = /run\/([\w.-]+)$/
const here = location.pathname
/** Short names of runs that a server has given. */
const ids = new Map<RunView, string>()

let names: string[] = []
let charts: Chart[] = []
/** What the page shows: a run with a step or none, or all runs. */
let place: { run?: RunView | undefined; step?: Point['step'] | undefined } = {}
let laidOut: RunView | 'all' | undefined
let allRows = false
let due = false
/** What stands in each part now. */
const shown = new Map<string, string>()

function readAddress(): void {
  const [name = '', step] = location.hash.slice(1).split('/').map(decoded)
  const opened = data.live && name === '' ? OF_RUN.exec(here)?.[1] : undefined
  const run = views.find(
    (view, i) => names[i] === name || view.run === name || (opened !== undefined && ids.get(view) === opened),
  )
  const only = views.length === 1 ? views[0] : undefined
  place = {
    run: run ?? only,
    step: step === undefined ? undefined : step === 'final' ? 'final' : Number(step),
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** A run of which nothing is known, in the place of what was known of it. */
function forget(view: RunView): void {
  const { run } = view
  for (const name of Object.keys(view)) Reflect.deleteProperty(view, name)
  Object.assign(view, startRun(run))
}

/** Asks for a new look, at most one per frame: events may come in thousands. */
function change(): void {
  if (due) return
  due = true
  setTimeout(() => {
    due = false
    render()
  }, 50)
}

function render(): void {
  names = shortNames(views.map(({ run }) => run))
  readAddress()
  const { run, step } = place
  const now = data.live ? Date.now() : undefined
  const name = run === undefined ? undefined : names[views.indexOf(run)]!
  set(nav, runLinks(names, name))
  const { backdrop, cut = backdrop?.cut } = data
  const options = { backdrop, cut, now, selected: step, limit: allRows ? undefined : ROWS }
  const parts = run === undefined ? compareParts(views, names, options) : runParts(run, name!, options)
  if (laidOut !== (run ?? 'all')) layOut(run, name, parts)
  for (const [part, html] of Object.entries(parts)) if (part !== 'charts') exchange(part, html)
  drawCharts(
    run === undefined ? views : [run],
    run === undefined ? names : [name!],
    typeof step === 'number' ? step : null,
  )
  document.title = run === undefined || views.length === 1 ? data.title : `${name}, ${data.title}`
}

/** What time alone changes. */
function showAges(): void {
  const now = Date.now()
  const { run } = place
  if (run !== undefined) exchange('age', ageHtml(run, now))
  else exchange('overview', compareParts(views, names, { now }).overview!)
}

function layOut(run: RunView | undefined, name: string | undefined, parts: Parts): void {
  laidOut = run ?? 'all'
  for (const chart of charts) chart.destroy()
  charts = []
  shown.clear()
  const summary = (data.summary ?? []).map((text) => `<p>${prose(text)}</p>`).join('')
  const nothing =
    views.length === 0 ? '<p class="headline none">Nothing has come from the watch yet.</p>' : ''
  set(
    main,
    `${summary}${nothing}${views.length === 0 ? '' : `<section>${name === undefined ? '<h2>All runs</h2>' : runHeading(name)}${sectionHtml(parts)}</section>`}`,
  )
  for (const [part, html] of Object.entries(parts)) shown.set(part, html)
}

/** A part is touched only when it says something else; focus stays where it was. */
function exchange(part: string, html: string): void {
  if (shown.get(part) === html) return
  shown.set(part, html)
  const element = main.querySelector<HTMLElement>(`[data-part="${part}"]`)
  if (!element) return
  const focused = document.activeElement?.closest(`[data-part="${part}"]`)
    ? document.activeElement.getAttribute('href')
    : null
  set(element, html)
  if (focused !== null) element.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus()
}

/** Every text in it was escaped where the part was made. */
function set(element: HTMLElement, html: string): void {
  element.innerHTML = html
}

function drawCharts(runs: readonly RunView[], runNames: readonly string[], selected: number | null): void {
  const box = main.querySelector<HTMLElement>('[data-charts]')
  if (!box) return
  const wanted = chartsOf(runs, runNames, { backdrop: data.backdrop, cut: data.cut, all: views })
  if (wanted.map(({ id }) => id).join() !== charts.map((chart) => chart.element.dataset.id).join()) {
    for (const chart of charts) chart.destroy()
    box.replaceChildren(...legend(wanted))
    charts = wanted.map((one) => newChart(box, one))
  }
  for (const [i, one] of wanted.entries()) charts[i]!.update(one, selected)
}

function newChart(box: HTMLElement, one: ChartData): Chart {
  const chart = new Chart(
    box,
    one,
    {
      point: (index) => {
        for (const each of charts) each.read(index)
      },
      choose: (step) => select(step),
    },
    sync,
  )
  chart.element.dataset.id = one.id
  return chart
}

/** Which shade is which, once for all charts, and which line is whose where there are several runs. */
function legend(wanted: readonly ChartData[]): HTMLElement[] {
  const list = document.createElement('p')
  list.className = 'legend'
  const item = (text: string, html: string, kind = '') => {
    const entry = document.createElement('span')
    entry.className = kind
    set(entry, html)
    const name = document.createElement('span')
    name.textContent = text
    entry.append(name)
    list.append(entry)
  }
  const shade = (kind: string) => `<span class="swatch ${kind}"></span>`
  const line = (dash: readonly number[]) =>
    `<svg viewBox="0 0 30 10" aria-hidden="true"><path d="M0 5H30" stroke-dasharray="${dash.join(' ')}"/></svg>`
  const em = wanted.find(({ id }) => id === 'em')
  const band = wanted.find(({ id, band }) => id.startsWith('trait') && band)?.band
  const lengths = wanted.find(({ id }) => id === 'length')!
  if (lengths.curves.length > 1)
    for (const { label, style, colour } of lengths.curves)
      item(label, line(style === 'dashed' ? [5, 4] : DASHES[colour % DASHES.length]!), `key c${colour % 8}`)
  if (em?.band) item(em.band.label, shade('interval'))
  if (em?.curves.some(({ style }) => style === 'dots')) item('judged', shade('dots'))
  if (band) item(band.label, shade('band'))
  return list.childElementCount === 0 ? [] : [list]
}

function select(step: Point['step'] | undefined): void {
  const { run } = place
  if (run === undefined) return
  const name = names[views.indexOf(run)]!
  history.replaceState(null, '', permalink(name, step))
  render()
}

function move(by: number): void {
  const { run, step } = place
  if (run === undefined || run.points.length === 0) return
  const at = run.points.findIndex((point) => point.step === step)
  const next = at === -1 ? run.points.length - 1 : Math.min(run.points.length - 1, Math.max(0, at + by))
  select(run.points[next]!.step)
}

addEventListener('hashchange', render)
addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target instanceof HTMLInputElement) return
  // A wide table scrolls with the arrows when it has the focus.
  const scrolls = event.target instanceof HTMLElement && event.target.closest('.wide') === event.target
  if (event.key === 'j' || (event.key === 'ArrowRight' && !scrolls)) move(1)
  else if (event.key === 'k' || (event.key === 'ArrowLeft' && !scrolls)) move(-1)
  else if (event.key === 'Escape') select(undefined)
  else return
  event.preventDefault()
})
main.addEventListener('click', (event) => {
  if (!(event.target instanceof HTMLElement && event.target.matches('[data-more]'))) return
  allRows = true
  render()
})
new ResizeObserver(() => {
  for (const chart of charts) chart.resize()
}).observe(main)

const repaint = () => {
  for (const chart of charts) chart.redraw()
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint)
addEventListener('beforeprint', () => {
  document.documentElement.classList.add('paper')
  repaint()
})
addEventListener('afterprint', () => {
  document.documentElement.classList.remove('paper')
  repaint()
})

document.querySelector('#keys')!.textContent =
  '. Keys: ← and → go from checkpoint to checkpoint, Esc goes back.'
render()
if (data.live) {
  let waiting = { time: '', backlog: 0 }
  follow(
    { ...data.live, events: here.replace(OF_RUN, '') + data.live.events },
    ({ id, event }) => {
      let view = views.find(({ run }) => run === event.run)
      if (view === undefined) {
        view = startRun(event.run)
        views.push(view)
        ids.set(view, id)
        laidOut = undefined
      }
      // The server sends no event twice: numbers that begin again are those of another log.
      if (event.seq <= view.seq) forget(view)
      applyEvent(view, event)
      // It counts those of all runs, which come one after the other at first.
      if (event.type !== 'baseline' && event.type !== 'end' && event.time >= waiting.time)
        waiting = { time: event.time, backlog: backlogAfter(waiting.backlog, event) }
      for (const each of views) if (!each.ended) each.backlog = waiting.backlog
      change()
    },
    (connection) => {
      status.className = connection
      status.textContent = connection === 'live' ? 'live' : 'not connected: trying again'
    },
  )
  setInterval(() => {
    if (!document.hidden) showAges()
  }, TICK_MS)
  document.addEventListener('visibilitychange', change)
  const labels = data.live.labels && here.replace(OF_RUN, '') + data.live.labels
  const askForLabels = async () => {
    for (const [view, id] of labels && !document.hidden ? ids : []) {
      const found = await labelsOf(labels!, id)
      if (found && found.answers.length + found.judged.length > 0) applyLabels(view, found)
    }
    change()
    setTimeout(askForLabels, LABELS_MS)
  }
  if (labels) setTimeout(askForLabels, TICK_MS)
}
