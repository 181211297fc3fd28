// Bars of CPU time per way and model: ours is 1.

const WIDTH = 720
const LEFT = 268
const BAR = 15
const STEP = 20
const COLOURS = {
  traitscope: '#0b84c6',
  'llama.cpp, one prompt at a time': '#7a7a7a',
  'transformers + peft, base loaded again': '#b5413b',
  'transformers + peft': '#d98880',
  'transformers + peft, batches of 16': '#e8b9b4',
  'node-llama-cpp, embedding': '#5b8c5a',
}

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** CPU time of each way over ours. */
export function ratiosOf({ trials }) {
  const mine = trials.find(({ name }) => name === 'traitscope').cpuSeconds
  return trials
    .filter(({ cpuSeconds }) => cpuSeconds)
    .flatMap(({ name, cpuSeconds, reloadCpuSeconds }) => [
      ...(reloadCpuSeconds ? [{ name: `${name}, base loaded again`, ratio: reloadCpuSeconds / mine }] : []),
      { name, ratio: cpuSeconds / mine },
    ])
}

export function drawContenders({ models }) {
  const groups = models.map((model) => ({ model, ratios: ratiosOf(model) }))
  const most = Math.max(2, ...groups.flatMap(({ ratios }) => ratios.map(({ ratio }) => ratio)))
  const step = [1, 2, 5, 10, 20, 50].find((each) => most / each <= 8) ?? 100
  const end = Math.ceil(most / step) * step
  const x = (ratio) => LEFT + (ratio / end) * (WIDTH - LEFT - 48)
  let y = 58
  const parts = []
  for (const { model, ratios } of groups) {
    parts.push(
      `<text x="16" y="${y + 12}" font-weight="600">${escaped(model.name)}, ${model.type}, layer ${model.layer} of ${model.nLayer}</text>`,
    )
    y += STEP + 2
    for (const { name, ratio } of ratios) {
      const width = x(ratio) - LEFT
      parts.push(
        `<text x="${LEFT - 8}" y="${y + 12}" text-anchor="end">${escaped(name)}</text>`,
        `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" fill="${COLOURS[name]}"/>`,
        `<text x="${(x(ratio) + 6).toFixed(1)}" y="${y + 12}">${ratio.toFixed(ratio < 10 ? 1 : 0)}</text>`,
      )
      y += STEP
    }
    y += 12
  }
  const grid = Array.from({ length: end / step + 1 }, (_, i) => i * step).map(
    (ratio) =>
      `<line class="ts-grid" x1="${x(ratio).toFixed(1)}" x2="${x(ratio).toFixed(1)}" y1="48" y2="${y - 6}"/>` +
      `<text x="${x(ratio).toFixed(1)}" y="42" text-anchor="middle">${ratio}</text>`,
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" class="ts-chart" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="CPU time for the states of 115 prompts, over that of traitscope"><style>
.ts-chart{font:12px system-ui,sans-serif}.ts-chart text{fill:#333}.ts-chart .ts-grid{stroke:#888;stroke-opacity:.25}
@media(prefers-color-scheme:dark){.ts-chart text{fill:#ddd}}
</style><text x="16" y="22" font-weight="600" font-size="14">CPU time for the states of 115 prompts, over that of traitscope</text>
${grid.join('\n')}
${parts.join('\n')}
</svg>
`
}
