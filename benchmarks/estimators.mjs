// Fit and predict times of the detector's estimators, on the shapes it meets.
// Run: npm run build:ts && node benchmarks/estimators.mjs [repeats, default 20]
import {
  GradientBoosting,
  Pca,
  PlsRegression,
  RandomForest,
  RandomForestClassifier,
  Ridge,
} from '../dist/lib/estimators/index.js'

const SHAPES = { 'one model': [156, 7], pooled: [624, 7] }
const WIDE = { 'activation drift': [156, 2048] }
const ESTIMATORS = [
  ['RandomForest', SHAPES, () => new RandomForest()],
  ['GradientBoosting', SHAPES, () => new GradientBoosting()],
  ['Ridge', SHAPES, () => new Ridge()],
  ['RandomForestClassifier', SHAPES, () => new RandomForestClassifier()],
  ['Pca(7)', WIDE, () => new Pca({ nComponents: 7 })],
  ['PlsRegression(7)', WIDE, () => new PlsRegression({ nComponents: 7 })],
]
const repeats = Number(process.argv[2] ?? 20)

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
/** Median wall and CPU time of `act` in ms, after three warm-up runs. */
function time(act) {
  const wall = []
  const cpu = []
  for (let i = -3; i < repeats; i++) {
    const before = process.cpuUsage()
    const start = performance.now()
    act()
    if (i < 0) continue
    wall.push(performance.now() - start)
    const { user, system } = process.cpuUsage(before)
    cpu.push((user + system) / 1000)
  }
  return [median(wall), median(cpu)]
}

// Drift-like numbers: a wave per row and column, targets that are zero for half of the rows.
function inputs(rows, cols) {
  const data = Float64Array.from(
    { length: rows * cols },
    (_, i) => Math.sin(i * 12.9898) * Math.cos(i / cols),
  )
  const y = Array.from({ length: rows }, (_, r) =>
    Math.max(0, data[r * cols] + 0.3 * data[r * cols + cols - 1]),
  )
  return { x: { data, rows, cols }, y, labels: y.map((value) => (value > 0.06 ? 1 : 0)) }
}

console.log('estimator               rows x cols   fit ms (cpu)     predict ms (cpu)')
for (const [name, shapes, make] of ESTIMATORS) {
  for (const [rows, cols] of Object.values(shapes)) {
    const { x, y, labels } = inputs(rows, cols)
    const target = name.endsWith('Classifier') ? labels : y
    const estimator = make()
    const fit = time(() => estimator.fit(x, target))
    const use = time(() => (estimator.predict ? estimator.predict(x) : estimator.transform(x)))
    const cell = ([wall, cpu]) => `${wall.toFixed(1)} (${cpu.toFixed(1)})`.padEnd(17)
    console.log(name.padEnd(24) + `${rows} x ${cols}`.padEnd(14) + cell(fit) + cell(use))
  }
}
