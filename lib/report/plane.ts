import { behind } from './benign-band.js'
import { escapeXml } from './escape.js'
import { type Backdrop, onPlane, type Point, type RunView } from './run-view.js'

const WIDTH = 480
const HEIGHT = 320
const MARGIN = 14
const BELOW = 22

/**
 * The path of runs in the plane of the calibration's first two principal components, with the calibration runs as ghosts; empty
 * where there is no plane to draw in.
 */
export function planeSvg(
  views: readonly RunView[],
  names: readonly string[],
  backdrop: Backdrop | undefined,
  selected?: Point['step'],
): string {
  const shown = views.flatMap((view, i) => (behind(backdrop, view) ? [{ view, name: names[i]! }] : []))
  const plane = backdrop?.plane
  if (!plane || shown.length === 0) return ''
  const paths = shown.map(({ view }) =>
    thinned(view.points, selected).map(({ step, drift }) => ({ step, at: onPlane(plane.axes, drift) })),
  )
  const all = [...plane.ghosts.flatMap(({ path }) => path), ...paths.flat().map(({ at }) => at)]
  const scale = scaleOf(all)
  const line = (points: readonly (readonly [number, number])[]) =>
    points.map((point) => scale(point)).join(' ')
  const ghosts = plane.ghosts.map(
    ({ name, dangerous, path }) =>
      `<polyline class="${dangerous ? 'ghost dangerous' : 'ghost'}" points="${line(path)}"><title>${escapeXml(`${name}, calibration, ${dangerous ? 'dangerous' : 'benign'}`)}</title></polyline>`,
  )
  const runs = paths.map((path, i) => {
    const dots = path.map(({ step, at }) => {
      const [x, y] = scale(at).split(',')
      const here = step === selected ? ' selected' : ''
      return `<circle class="dot${here}" cx="${x}" cy="${y}" r="${here ? 6 : 2.5}"><title>${escapeXml(`${shown[i]!.name}, step ${step}`)}</title></circle>`
    })
    const last = path.at(-1)
    const [x, y] = last ? scale(last.at).split(',') : []
    const end = last ? `<circle class="end" cx="${x}" cy="${y}" r="5"/>` : ''
    return `<g class="run c${i % 8}"><polyline points="${line(path.map(({ at }) => at))}"/>${dots.join('')}${end}</g>`
  })
  const [base] = [scale([0, 0]).split(',')]
  const share = (i: number) => `PC${i + 1}, ${(100 * (plane.shares[i] ?? 0)).toFixed(0)} % of the variance`
  const said = `${shown.map(({ name }) => name).join(', ')} among ${plane.ghosts.length} calibration runs`
  return `<svg class="plane" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeXml(`Plane of drift: ${said}`)}">
${ghosts.join('\n')}
<path class="origin" d="M${Number(base![0]) - 6} ${base![1]}h12M${base![0]} ${Number(base![1]) - 6}v12"/>
${runs.join('\n')}
<text x="${WIDTH - MARGIN}" y="${HEIGHT - 4}" text-anchor="end">${escapeXml(share(0))}</text>
<text transform="translate(10 ${MARGIN}) rotate(-90)" text-anchor="end">${escapeXml(share(1))}</text>
<text x="${Number(base![0]) + 8}" y="${Number(base![1]) + 14}">base</text>
</svg>`
}

/** More points on a line than this nobody can tell apart. */
const MOST = 300

/** Every so many, the last one and the selected one among them. */
function thinned(points: readonly Point[], selected: Point['step'] | undefined): readonly Point[] {
  const every = Math.ceil(points.length / MOST)
  if (every <= 1) return points
  return points.filter((point, i) => i % every === 0 || i === points.length - 1 || point.step === selected)
}

/** From the plane to the picture, one scale on both axes: distances are what the plane is for. */
function scaleOf(
  points: readonly (readonly [number, number])[],
): (point: readonly [number, number]) => string {
  const finite = points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
  const range = (i: 0 | 1) => {
    const values = [0, ...finite.map((point) => point[i])]
    return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] as const
  }
  const [x, y] = [range(0), range(1)]
  const [width, height] = [WIDTH - 2 * MARGIN - 10, HEIGHT - MARGIN - BELOW]
  const unit = Math.min(width / Math.max(1e-9, x[1] - x[0]), height / Math.max(1e-9, y[1] - y[0]))
  const left = MARGIN + 10 + (width - unit * (x[1] - x[0])) / 2
  const top = MARGIN + (height - unit * (y[1] - y[0])) / 2
  return ([a, b]) => `${fixed(left + unit * (a - x[0]))},${fixed(top + unit * (y[1] - b))}`
}

const fixed = (value: number) => (Number.isFinite(value) ? String(Number(value.toFixed(1))) : '0')
