/** Draws the charts of a page with uPlot, which is a global of the page's script. */
import { digitsBeside } from '../lib/percent.js'
import type { ChartData, Values } from '../lib/report/chart-data.js'

/** What happens on a chart. */
export interface ChartEvents {
  /** A step was pointed at, by its index; null when the pointer has left. */
  point(index: number | null): void
  /** A step was chosen. */
  choose(step: number): void
}

const HEIGHTS: Record<string, number> = { em: 240, loss: 150, length: 180 }
const TRAIT_HEIGHT = 130

/** Colours are those of the style sheet, so that a dark page has dark charts. */
function ink(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
}
const colourOf = (index: number) => ink(`c${index % 8}`)

/** One chart in its figure: heading, readout, canvas. */
export class Chart {
  readonly #figure: HTMLElement
  readonly #canvas: HTMLElement
  readonly #readout: HTMLElement
  #plot: uPlot | undefined
  #data: ChartData
  #shape = ''
  #selected: number | null = null

  constructor(
    parent: HTMLElement,
    data: ChartData,
    private readonly events: ChartEvents,
    private readonly sync: uPlot.SyncPubSub,
  ) {
    this.#data = data
    this.#figure = document.createElement('figure')
    this.#figure.className = `chart ${data.id.replace(/-.*/, '')}`
    const caption = document.createElement('figcaption')
    const title = document.createElement('strong')
    title.textContent = data.title
    this.#readout = document.createElement('span')
    caption.append(title, ' ', this.#readout)
    this.#canvas = document.createElement('div')
    this.#canvas.setAttribute('role', 'img')
    this.#figure.append(caption, this.#canvas)
    parent.append(this.#figure)
  }

  get element(): HTMLElement {
    return this.#figure
  }

  /** Shows what is new; a chart with other curves is made anew. */
  update(data: ChartData, selected: number | null): void {
    this.#data = data
    this.#selected = selected
    const shape = JSON.stringify([
      data.curves.map(({ label, style, colour }) => [label, style, colour]),
      data.band?.label,
      data.range,
      data.marks,
    ])
    if (this.#plot && shape === this.#shape) this.#plot.setData(columns(data))
    else this.redraw()
    this.#shape = shape
    this.read(null)
  }

  /** Made anew: the colours or the width have changed. */
  redraw(width = this.#canvas.clientWidth): void {
    this.#plot?.destroy()
    if (width === 0) return
    this.#plot = new uPlot(this.#options(width), columns(this.#data), this.#canvas)
  }

  /** Without making it anew. */
  resize(): void {
    const width = this.#canvas.clientWidth
    if (this.#plot && width > 0 && width !== this.#plot.width)
      this.#plot.setSize({ width, height: this.#plot.height })
    else if (!this.#plot) this.redraw()
  }

  /** Says the values at a step: the one pointed at, else the one selected, else the last. */
  read(index: number | null): void {
    const { id, curves, steps, unit, band, marks } = this.#data
    const chosen = this.#selected === null ? -1 : steps.indexOf(this.#selected)
    const at = index ?? (chosen === -1 ? steps.length - 1 : chosen)
    const number = (value: number | null | undefined) =>
      value == null ? '–' : `${digits(value, marks)}${unit === '%' ? '\u00a0%' : ''}`
    const values = curves.map(({ label, values }) =>
      curves.length === 1 ? number(values[at]) : `${label} ${number(values[at])}`,
    )
    const where = id === 'em' ? ` at step ${steps[at] ?? 0}` : ''
    // The shade is of what is predicted, which is the first curve.
    const [first = '', ...rest] = values
    const told =
      values.length <= 2 || id === 'em' ? [`${first}${this.#besideBand(at)}`, ...rest].join(', ') : ''
    this.#readout.textContent =
      values.length > 4 || (id.startsWith('trait') && values.length > 1) ? where.trim() : told + where
    const shaded = band ? `; shaded: ${band.label}` : ''
    this.#canvas.setAttribute(
      'aria-label',
      `${this.#data.title} over optimiser steps: ${values.join(', ')} at step ${steps[at] ?? 0}${shaded}`,
    )
  }

  /** How the only curve lies to the shade: its edges where it is an interval, else only whether it is outside. */
  #besideBand(at: number): string {
    const { id, band, curves, marks } = this.#data
    const [low, high, value] = [band?.low[at], band?.high[at], curves[0]?.values[at]]
    const isOne = curves.slice(1).every(({ style }) => style !== 'line')
    if (!isOne || low == null || high == null || value == null) return ''
    if (id === 'em' || id === 'margin') return ` (${digits(low, marks)} to ${digits(high, marks)})`
    return value < low || value > high ? ', outside' : ''
  }

  destroy(): void {
    this.#plot?.destroy()
    this.#figure.remove()
  }

  #options(width: number): uPlot.Options {
    const { id, curves, band, range, unit, marks } = this.#data
    const axis = {
      stroke: ink('quiet'),
      font: '12px system-ui, sans-serif',
      grid: { stroke: ink('grid'), width: 1 },
      ticks: { show: false },
    }
    const edge: uPlot.Series = { stroke: 'transparent', points: { show: false }, spanGaps: true }
    return {
      width,
      height: HEIGHTS[id] ?? TRAIT_HEIGHT,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: this.sync.key },
        drag: { x: false, y: false },
        points: { size: 7 },
        bind: {
          click: (self) => () => {
            this.#choose(self)
            return null
          },
        },
      },
      scales: { x: { time: false }, y: { range: (_, min, max) => within(range, min, max) } },
      axes: [
        { ...axis, size: 26, space: 60 },
        {
          ...axis,
          size: 46,
          // A small chart would often have no number but 0.
          space: id in HEIGHTS ? 28 : 16,
          values: (_, ticks) => ticks.map((tick) => `${Number(tick.toPrecision(6))}${unit}`),
        },
      ],
      series: [
        {},
        ...(band ? [edge, edge] : []),
        ...curves.map(
          ({ label, style, colour }): uPlot.Series => ({
            label,
            spanGaps: true,
            stroke: colourOf(colour),
            width: style === 'dots' ? 0 : 2,
            ...(style === 'dashed'
              ? { dash: [5, 4] }
              : style === 'line' && colour > 0
                ? { dash: DASHES[colour % DASHES.length]! }
                : {}),
            points:
              style === 'dots'
                ? { show: true, size: 7, width: 1.5, fill: ink('paper'), stroke: colourOf(colour) }
                : { size: 4, fill: colourOf(colour) },
          }),
        ),
      ],
      ...(band && {
        bands: [{ series: [2, 1] as [number, number], fill: id === 'em' ? ink('interval') : ink('band') }],
      }),
      hooks: {
        setCursor: [(self) => this.events.point(self.cursor.idx ?? null)],
        draw: [(self) => drawMarks(self, marks, this.#selected)],
      },
    }
  }

  #choose(self: uPlot): void {
    const { idx } = self.cursor
    if (idx != null) this.events.choose(this.#data.steps[idx]!)
  }
}

/** Lines of several runs differ in more than their colour. */
export const DASHES = [[], [9, 3], [3, 3], [9, 3, 2, 3], [14, 4], [2, 2], [6, 2, 2, 2, 2, 2], [12, 2, 2, 2]]

/** To three digits, or as many as keep it on its side of every mark. */
function digits(value: number, marks: ChartData['marks']): string {
  const least = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toFixed(Math.max(least, ...marks.map((mark) => digitsBeside(mark.value, value, least))))
}

function columns({ steps, curves, band }: ChartData): uPlot.AlignedData {
  const values: Values[] = [...(band ? [band.low, band.high] : []), ...curves.map((curve) => curve.values)]
  return [steps, ...values] as uPlot.AlignedData
}

/** The range of the data with some air, unless the chart fixes it. */
function within({ min, max }: ChartData['range'], low: number | null, high: number | null): [number, number] {
  const bottom = min ?? low ?? 0
  const top = max ?? high ?? 1
  const air = 0.06 * Math.max(top - bottom, 1e-9)
  return [min === 0 ? 0 : bottom - air, top + air]
}

/** Thresholds across, the selected step upright, zero where the scale goes below it. */
function drawMarks(plot: uPlot, marks: ChartData['marks'], selected: number | null): void {
  const { ctx, bbox } = plot
  const ratio = devicePixelRatio
  ctx.save()
  ctx.lineWidth = ratio
  const across = (value: number, colour: string, dash: number[]) => {
    const y = Math.round(plot.valToPos(value, 'y', true))
    ctx.strokeStyle = colour
    ctx.setLineDash(dash.map((one) => one * ratio))
    ctx.beginPath()
    ctx.moveTo(bbox.left, y)
    ctx.lineTo(bbox.left + bbox.width, y)
    ctx.stroke()
    return y
  }
  if ((plot.scales.y?.min ?? 0) < 0) across(0, ink('quiet'), [])
  ctx.font = `${11 * ratio}px system-ui, sans-serif`
  ctx.textAlign = 'right'
  // From below: where two lie close, the upper one's words go above the lower one's.
  let words = Number.POSITIVE_INFINITY
  for (const { label, value } of [...marks].sort((a, b) => a.value - b.value)) {
    const y = across(value, ink('mark'), [5, 4])
    words = Math.min(y - 5 * ratio, words - 13 * ratio)
    ctx.fillStyle = ink('mark')
    ctx.fillText(label, bbox.left + bbox.width - 4 * ratio, words)
  }
  if (selected !== null) {
    const x = Math.round(plot.valToPos(selected, 'x', true))
    ctx.strokeStyle = ink('ink')
    ctx.setLineDash([])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
  }
  ctx.restore()
}
