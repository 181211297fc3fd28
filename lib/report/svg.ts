/**
 * Charts as self-contained SVG text: no scripts, no fonts to load, neutral colours for light and dark pages,
 * every label escaped, equal input equal output. Points that are not finite are left out.
 */

import { escapeXml } from './escape.js'

/** One axis; the range defaults to that of the data. */
export interface Axis {
  label: string
  min?: number
  max?: number
}

export interface Series {
  name: string
  /** `[x, y]`, joined in this order. */
  points: readonly (readonly [number, number])[]
  /** `[x, low, high]`, drawn as a shade behind the line. */
  band?: readonly (readonly [number, number, number])[]
}

interface Chart {
  title: string
  y: Axis
  /** Horizontal dashed lines. */
  marks?: readonly { value: number; label: string }[]
}

export interface LineChart extends Chart {
  x: Axis
  series: readonly Series[]
}

export interface BarChart extends Chart {
  categories: readonly string[]
  /** One value per category, or null where there is none. */
  series: readonly { name: string; values: readonly (number | null)[] }[]
}

const WIDTH = 720
const HEIGHT = 400
const LEFT = 64
const TOP = 44
const BOTTOM = 96
/** Degrees by which names of bars are turned that would run into each other. */
const TURN = 25
/** Room below the axis for its numbers and label. */
const BELOW = 48
const PLOT = { width: WIDTH - LEFT - 16, height: HEIGHT - TOP - BOTTOM }

/** Distinct on white and on black, also to colour-blind readers. */
const PALETTE = ['#0b84c6', '#d1701c', '#2a9d6f', '#c2559d', '#8a7a18', '#6f6fd8', '#b5413b', '#5b8a99']
const STYLE = `<style>
.ts-chart{font:12px system-ui,sans-serif}.ts-chart text{fill:#333}.ts-chart .ts-axis{stroke:#888;fill:none}
.ts-chart .ts-grid{stroke:#888;stroke-opacity:.25}.ts-chart .ts-mark{stroke:#b5413b;stroke-dasharray:5 4}
@media(prefers-color-scheme:dark){.ts-chart text{fill:#ddd}}
</style>`

/** Lines with optional bands, e.g. a predicted rate over steps. */
export function lineChart({ title, x, y, series, marks = [] }: LineChart): string {
  const plane = planeOf(series, x, y, marks)
  const shapes = series.map(({ points, band = [] }, i) => {
    const edge = [
      ...band.map(([at, low]) => [at, low] as const),
      ...[...band].reverse().map(([at, , high]) => [at, high] as const),
    ]
    const corners = edge.map((point) => plane.at(point)).filter((text) => text !== undefined)
    const path = points.map((point) => plane.at(point)).filter((text) => text !== undefined)
    return [
      corners.length > 2
        ? `<polygon points="${corners.join(' ')}" fill="${colour(i)}" fill-opacity=".18"/>`
        : '',
      `<polyline points="${path.join(' ')}" fill="none" stroke="${colour(i)}" stroke-width="2"/>`,
      ...dots(plane, points, i, 2.5),
    ].join('')
  })
  return drawing(title, series, [...frame(plane, x, y, marks), ...shapes])
}

/** Points by group, e.g. final drifts in a plane. */
export function scatterChart({ title, x, y, series, marks = [] }: LineChart): string {
  const plane = planeOf(series, x, y, marks)
  const shapes = series.flatMap(({ points }, i) => dots(plane, points, i, 4))
  return drawing(title, series, [...frame(plane, x, y, marks), ...shapes])
}

/** Grouped bars from zero, e.g. loadings per trait. */
export function barChart({ title, y, categories, series, marks = [] }: BarChart): string {
  const heights = series.flatMap(({ values }) => values.map((value) => [0, value ?? 0] as const))
  const axis = { label: '', min: 0, max: Math.max(1, categories.length) }
  const plane = planeOf([{ name: '', points: [[0, 0], ...heights] }], axis, y, marks)
  const slot = 0.8 / Math.max(1, series.length)
  const bars = series.flatMap(({ values }, i) =>
    values.map((value, c) => {
      if (value === null || !Number.isFinite(value)) return ''
      const from = plane.x(c + 0.1 + i * slot)
      const [top, bottom] = [plane.y(Math.max(0, value)), plane.y(Math.min(0, value))]
      const width = plane.x(c + 0.1 + (i + 1) * slot) - from
      return `<rect x="${fixed(from)}" y="${fixed(top)}" width="${fixed(width)}" height="${fixed(bottom - top)}" fill="${colour(i)}"/>`
    }),
  )
  const crowded = categories.some((name) => textWidth(name) > PLOT.width / axis.max)
  const names = categories.map((name, c) => {
    const [x, y] = [fixed(plane.x(c + 0.5)), HEIGHT - BOTTOM + 16]
    const turn = crowded ? ` rotate(-${TURN})` : ''
    return `<g transform="translate(${x} ${y})${turn}">${text(0, 0, name, crowded ? 'end' : 'middle')}</g>`
  })
  const longest = Math.max(0, ...categories.map(textWidth))
  const depth = crowded ? 24 + longest * Math.sin((TURN * Math.PI) / 180) : undefined
  return drawing(title, series, [...frame(plane, undefined, y, marks), ...bars, ...names], depth)
}

interface Plane {
  x(value: number): number
  y(value: number): number
  xTicks: number[]
  yTicks: number[]
  /** `x,y` in the picture; undefined for a point that is not finite. */
  at(point: readonly [number, number]): string | undefined
}

function planeOf(series: readonly Series[], x: Axis, y: Axis, marks: readonly { value: number }[]): Plane {
  const xs = series.flatMap(({ points, band = [] }) => [
    ...points.map(([at]) => at),
    ...band.map(([at]) => at),
  ])
  const ys = series.flatMap(({ points, band = [] }) => [
    ...points.map(([, value]) => value),
    ...band.flatMap(([, low, high]) => [low, high]),
  ])
  const xRange = range(xs, x)
  const yRange = range([...ys, ...marks.map(({ value }) => value)], y)
  const plane = {
    x: (value: number) => LEFT + ((value - xRange.min) / (xRange.max - xRange.min)) * PLOT.width,
    y: (value: number) => TOP + (1 - (value - yRange.min) / (yRange.max - yRange.min)) * PLOT.height,
    xTicks: xRange.ticks,
    yTicks: yRange.ticks,
    at: ([a, b]: readonly [number, number]) =>
      Number.isFinite(a) && Number.isFinite(b) ? `${fixed(plane.x(a))},${fixed(plane.y(b))}` : undefined,
  }
  return plane
}

/** The range of the data widened to round numbers, unless the axis fixes it. */
function range(values: readonly number[], { min, max }: Axis) {
  const finite = values.filter(Number.isFinite)
  let low = min ?? (finite.length > 0 ? Math.min(...finite) : 0)
  let high = max ?? (finite.length > 0 ? Math.max(...finite) : 1)
  if (!(high > low)) {
    low -= min === undefined ? 0.5 : 0
    high = low + 1
  }
  const rough = (high - low) / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough)!
  low = min ?? Math.floor(low / step + 1e-9) * step
  high = max ?? Math.ceil(high / step - 1e-9) * step
  const ticks: number[] = []
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(k * step)
  return { min: low, max: high, ticks }
}

function frame(
  plane: Plane,
  x: Axis | undefined,
  y: Axis,
  marks: readonly { value: number; label: string }[],
) {
  const right = WIDTH - 16
  const bottom = HEIGHT - BOTTOM
  const line = (y1: number, kind: string) =>
    `<line class="${kind}" x1="${LEFT}" x2="${right}" y1="${fixed(y1)}" y2="${fixed(y1)}"/>`
  return [
    ...plane.yTicks.map(
      (value) => line(plane.y(value), 'ts-grid') + text(LEFT - 6, plane.y(value) + 4, tick(value), 'end'),
    ),
    ...(x ? plane.xTicks.map((value) => text(plane.x(value), bottom + 16, tick(value), 'middle')) : []),
    `<path class="ts-axis" d="M${LEFT} ${TOP}V${bottom}H${right}"/>`,
    x ? text(LEFT + PLOT.width / 2, bottom + 36, x.label, 'middle') : '',
    `<g transform="translate(16 ${TOP + PLOT.height / 2}) rotate(-90)">${text(0, 0, y.label, 'middle')}</g>`,
    ...marks.map(
      ({ value, label }) => line(plane.y(value), 'ts-mark') + text(right, plane.y(value) - 4, label, 'end'),
    ),
  ]
}

function dots(plane: Plane, points: Series['points'], i: number, radius: number): string[] {
  return points.flatMap((point) => {
    if (plane.at(point) === undefined) return []
    return `<circle cx="${fixed(plane.x(point[0]))}" cy="${fixed(plane.y(point[1]))}" r="${radius}" fill="${colour(i)}"/>`
  })
}

/** Names below the plot, in as many rows as they need; the second value is how far down they reach. */
function legend(series: readonly { name: string }[], top: number): [parts: string[], bottom: number] {
  if (series.length < 2) return [[], top]
  let x = LEFT
  let y = top + 16
  const parts = series.map(({ name }, i) => {
    const width = 26 + textWidth(name)
    if (x > LEFT && x + width > WIDTH) {
      x = LEFT
      y += 16
    }
    const at = x
    x += width
    return `<rect x="${at}" y="${y - 9}" width="10" height="10" fill="${colour(i)}"/>${text(at + 14, y, name, 'start')}`
  })
  return [parts, y + 12]
}

function drawing(
  title: string,
  series: readonly { name: string }[],
  parts: readonly string[],
  depth = BELOW,
): string {
  const [names, height] = legend(series, HEIGHT - BOTTOM + Math.ceil(depth))
  return `<svg xmlns="http://www.w3.org/2000/svg" class="ts-chart" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeXml(title)}">${STYLE}${text(LEFT, 24, title, 'start', ' font-weight="600" font-size="14"')}
${[...parts, ...names].filter((part) => part !== '').join('\n')}
</svg>
`
}

/** Pixels, by a generous estimate: there is no font to measure. */
const textWidth = (content: string) => 7 * content.length

function text(x: number, y: number, content: string, anchor: string, more = ''): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}"${more}>${escapeXml(content)}</text>`
}

const colour = (i: number) => PALETTE[i % PALETTE.length]!
const fixed = (value: number) => String(Number(value.toFixed(2)))
const tick = (value: number) => String(Number(value.toPrecision(6)))
