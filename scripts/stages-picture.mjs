/**
 * Draws the stages of lib/ and who uses whom to docs/stages.svg, and writes their order into CONTRIBUTING.md:
 *
 *     node scripts/stages-picture.mjs
 *
 * A layered graph by the usual steps: layers by longest path, order within a layer by the mean of the neighbours,
 * places by least squares with a minimum distance. Equal imports, equal bytes; a test says when the picture is old.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { files, importsOf, ROOMS, repository, STAGES, stageOf } from './stages.mjs'

const BOX = { width: 172, height: 42 }
/** Free space between boxes, between lines that pass, and between layers. */
const GAP = { box: 18, line: 14, layer: 34 }
/** How far a box may stray from the middle to stand over its neighbours: 1 is freely, and makes a wide picture. */
const PULL = 0.7
/** Imported by everybody, or importing everybody: arrows would say nothing. */
const LEFT_OUT = ['errors', 'package', 'percent', 'index']

/** The stages in order, each with those that it imports; what a longer way implies is left out. */
export function stageGraph() {
  const uses = new Map()
  for (const stage of STAGES.keys()) if (!LEFT_OUT.includes(stage)) uses.set(stage, new Set())
  for (const { from, to } of files.flatMap(importsOf)) {
    const [user, used] = [stageOf(from), stageOf(to)]
    if (user !== used && uses.has(user) && uses.has(used)) uses.get(user).add(used)
  }
  const reaches = (from, to) => from === to || [...uses.get(from)].some((next) => reaches(next, to))
  const order = [...uses.keys()]
  return new Map(
    order.map((stage) => {
      const used = [...uses.get(stage)].sort((a, b) => order.indexOf(a) - order.indexOf(b))
      return [stage, used.filter((one) => !used.some((other) => other !== one && reaches(other, one)))]
    }),
  )
}

/** Layers of boxes and of bends, where a line passes a layer; `above` are the neighbours one layer up. */
function layersOf(graph) {
  const depth = new Map()
  for (const [stage, used] of graph)
    depth.set(stage, used.length === 0 ? 0 : 1 + Math.max(...used.map((one) => depth.get(one))))
  // What more stages use than it uses itself stands right above the first of them: fewer long lines.
  for (const [stage, used] of [...graph].reverse()) {
    const users = [...graph].filter(([, others]) => others.includes(stage)).map(([user]) => depth.get(user))
    if (users.length > used.length) depth.set(stage, Math.min(...users) - 1)
  }
  const layers = Array.from({ length: 1 + Math.max(...depth.values()) }, () => [])
  const place = (layer, node) => {
    const placed = { ...node, layer, above: [], below: [] }
    layers[layer].push(placed)
    return placed
  }
  const nodes = new Map([...graph.keys()].map((stage) => [stage, place(depth.get(stage), { stage })]))
  const link = (a, b) => {
    a.below.push(b)
    b.above.push(a)
  }
  const lines = []
  for (const [stage, used] of graph) {
    for (const one of used) {
      const line = [nodes.get(one)]
      for (let layer = depth.get(one) + 1; layer < depth.get(stage); layer++) line.push(place(layer, {}))
      line.push(nodes.get(stage))
      for (let i = 1; i < line.length; i++) link(line[i - 1], line[i])
      lines.push(line)
    }
  }
  return { layers, lines }
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length
const halfOf = (node) => (node.stage === undefined ? 0 : BOX.width / 2)
const gapOf = (a, b) => (a.stage === undefined || b.stage === undefined ? GAP.line : GAP.box)

/** Least squares to the wanted places, in order and far enough apart: pool adjacent violators. */
function spread(layer, wanted) {
  const offsets = [0]
  for (let i = 1; i < layer.length; i++) {
    const apart = halfOf(layer[i - 1]) + gapOf(layer[i - 1], layer[i]) + halfOf(layer[i])
    offsets.push(offsets[i - 1] + apart)
  }
  const pools = []
  for (const [i, x] of wanted.entries()) {
    pools.push([x - offsets[i]])
    while (pools.length > 1 && mean(pools.at(-2)) > mean(pools.at(-1))) pools.push(pools.splice(-2).flat())
  }
  const places = pools.flatMap((pool) => pool.map(() => mean(pool)))
  for (const [i, node] of layer.entries()) node.x = places[i] + offsets[i]
}

/** How often lines of two neighbouring layers cross. */
function crossings(layers) {
  let count = 0
  for (const layer of layers) {
    const ends = layer.flatMap((node, i) => node.below.map((end) => [i, layers[end.layer].indexOf(end)]))
    for (const [a, b] of ends) for (const [c, d] of ends) if (a < c && b > d) count++
  }
  return count
}

function arrange(layers) {
  let best = { count: Number.POSITIVE_INFINITY, layers: [] }
  for (let sweep = 0; sweep < 24; sweep++) {
    const [order, side] = sweep % 2 === 0 ? [layers, 'above'] : [[...layers].reverse(), 'below']
    for (const layer of order) {
      const at = new Map(
        layer.map((node, i) => {
          const others = node[side].map((one) => layers[one.layer].indexOf(one))
          return [node, others.length === 0 ? i : mean(others)]
        }),
      )
      layer.sort((a, b) => at.get(a) - at.get(b))
    }
    const count = crossings(layers)
    if (count < best.count) best = { count, layers: layers.map((layer) => [...layer]) }
  }
  for (const layer of best.layers)
    spread(
      layer,
      layer.map(() => 0),
    )
  for (let sweep = 0; sweep < 60; sweep++) {
    const order = sweep % 2 === 0 ? best.layers : [...best.layers].reverse()
    for (const layer of order) {
      const wanted = layer.map(({ above, below, x }) => {
        const near = [...above, ...below]
        return near.length === 0 ? x : PULL * mean(near.map((one) => one.x))
      })
      spread(layer, wanted)
    }
  }
  return best.layers
}

/** The picture as SVG, for light and dark pages. */
export function stagesPicture() {
  const { layers: unordered, lines } = layersOf(stageGraph())
  const layers = arrange(unordered)
  const nodes = layers.flat()
  const left = Math.min(...nodes.map((node) => node.x - halfOf(node))) - 12
  const right = Math.max(...nodes.map((node) => node.x + halfOf(node))) + 12
  const top = ({ layer }) => 12 + layer * (BOX.height + GAP.layer)
  const height = top({ layer: layers.length - 1 }) + BOX.height + 12
  const x = (node) => Math.round(node.x - left)
  const curve = (line) => {
    const points = [[x(line[0]), top(line[0]) + BOX.height]]
    for (const bend of line.slice(1, -1)) points.push([x(bend), top(bend)], [x(bend), top(bend) + BOX.height])
    points.push([x(line.at(-1)), top(line.at(-1)) - 5])
    return points
      .map(([px, py], i) => {
        if (i === 0) return `M${px} ${py}`
        if (i % 2 === 0) return `V${py}`
        const [fromX, fromY] = points[i - 1]
        const half = Math.round((py - fromY) / 2)
        return `C${fromX} ${fromY + half} ${px} ${py - half} ${px} ${py}`
      })
      .join('')
  }
  const boxes = nodes.filter(({ stage }) => stage !== undefined)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.round(right - left)} ${height}" role="img" aria-label="The stages of lib/: an arrow leads from a stage to one that uses it"><style>`,
    'svg{font:13px system-ui,sans-serif}.box{fill:#f6f8fa;stroke:#57606a}.name{fill:#1f2328;font-weight:600}.out{fill:#57606a;font-size:11px}.line{fill:none;stroke:#768390;stroke-width:1.3}.tip{fill:#768390}',
    '@media(prefers-color-scheme:dark){.box{fill:#161b22;stroke:#8b949e}.name{fill:#e6edf3}.out{fill:#9da7b3}}',
    '</style><defs><marker id="tip" viewBox="0 0 8 8" refX="3" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="tip" d="M0 0L8 4L0 8Z"/></marker></defs>',
    ...lines.map((line) => `<path class="line" marker-end="url(#tip)" d="${curve(line)}"/>`),
    ...boxes.map((node) => {
      const y = top(node)
      return (
        `<rect class="box" x="${x(node) - BOX.width / 2}" y="${y}" width="${BOX.width}" height="${BOX.height}" rx="6"/>` +
        `<text class="name" x="${x(node)}" y="${y + 18}" text-anchor="middle">${node.stage}</text>` +
        `<text class="out" x="${x(node)}" y="${y + 33}" text-anchor="middle">${STAGES.get(node.stage)}</text>`
      )
    }),
    '</svg>\n',
  ].join('\n')
}

/** The order of the stages as CONTRIBUTING.md has it. */
export function stagesParagraph() {
  const named = [...STAGES.keys()].map((stage) => `\`${stage}\``)
  const rooms = Object.entries(ROOMS).map(([stage, names]) => {
    const shown = names.map((name) => (name === '' ? 'its root files' : name.replace(/\.ts$/, '')))
    return `\`${stage}/\` has ${shown.join(', ')}`
  })
  const order = wrap(named.join(' → '))
  return `${order}

${wrap(`Some stages have rooms, in this order: ${rooms.join('; ')}.`)}`
}

function wrap(text, width = 120) {
  const lines = ['']
  for (const word of text.split(' ')) {
    if (lines.at(-1) !== '' && `${lines.at(-1)} ${word}`.length > width) lines.push(word)
    else lines[lines.length - 1] = `${lines.at(-1)} ${word}`.trimStart()
  }
  return lines.join('\n')
}

const MADE = /(<!-- made by scripts\/stages-picture\.mjs -->\n)[\s\S]*?(\n<!-- end -->)/

/** CONTRIBUTING.md with the present order. */
export const withStages = (text) => text.replace(MADE, (_, start, end) => start + stagesParagraph() + end)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const guide = join(repository, 'CONTRIBUTING.md')
  writeFileSync(join(repository, 'docs', 'stages.svg'), stagesPicture())
  writeFileSync(guide, withStages(readFileSync(guide, 'utf8')))
}
