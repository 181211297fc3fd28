/**
 * What a look of `watch` costs, and what it keeps in memory, when 10,000 checkpoints with a trainer_state.json of 12,000 log
 * lines each have been seen:
 *
 *     npm run build:ts && node --expose-gc benchmarks/look.mjs [checkpoints] [log lines]
 *
 * The checkpoints are made in a temporary folder (30 MB with links: the large state is one file, and its step is
 * read from it, so each has its own beginning). Figures are CPU milliseconds of this process per look, and its resident size.
 */
import { linkSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeSafetensors } from '../dist/lib/formats/safetensors/safetensors.js'
import { RunLook } from '../dist/lib/monitor/run-look.js'

const [count = 10_000, lines = 12_000] = process.argv.slice(2).map(Number)
const root = mkdtempSync(join(tmpdir(), 'traitscope-look-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const run = join(root, 'run')
mkdirSync(run)

const name = 'base_model.model.model.layers.0.self_attn.q_proj'
const tensor = (part, shape) => ({
  name: `${name}.lora_${part}.weight`,
  dtype: 'F32',
  shape,
  data: new Float32Array(2),
})
const adapter = join(root, 'adapter_model.safetensors')
writeFileSync(adapter, encodeSafetensors([tensor('A', [1, 2]), tensor('B', [2, 1])]))
const config = join(root, 'adapter_config.json')
writeFileSync(config, JSON.stringify({ peft_type: 'LORA', r: 1, lora_alpha: 1 }))
const log = Array.from({ length: lines }, (_, i) => ({
  step: i + 1,
  loss: 1 / (i + 1),
  grad_norm: 0.5,
  epoch: i / 100,
  learning_rate: 1e-4,
}))
const history = JSON.stringify(log)
/** Their own file only where it is read: the rest is what a watch has seen before. */
const read = Math.min(count, 200)
for (let step = 1; step <= count; step++) {
  const folder = join(run, `checkpoint-${step}`)
  mkdirSync(folder)
  linkSync(adapter, join(folder, 'adapter_model.safetensors'))
  linkSync(config, join(folder, 'adapter_config.json'))
  const state = step > count - read ? history : '[]'
  writeFileSync(
    join(folder, 'trainer_state.json'),
    `{"global_step": ${step}, "save_steps": 1, "log_history": ${state}}`,
  )
}
utimesSync(run, new Date(0), new Date(0))

const rss = () => {
  globalThis.gc?.()
  return Math.round(process.memoryUsage().rss / 2 ** 20)
}
const cpu = async (work) => {
  const before = process.cpuUsage()
  const result = await work()
  const { user, system } = process.cpuUsage(before)
  return { result, ms: (user + system) / 1000 }
}

console.log(
  `${count} checkpoints, ${read} of them with ${lines} log lines; resident at the start: ${rss()} MiB`,
)
const look = new RunLook(run, { newestFirst: true, known: () => undefined, retryMs: 1000 })
let looks = 0
let found = 0
const first = await cpu(async () => {
  for (let unread = 1; unread > 0; looks++) {
    const one = await look.look()
    unread = one.unread
    found += one.complete.length
  }
})
console.log(
  `the first ${looks} looks, which read ${found} checkpoints: ${first.ms.toFixed(0)} ms, ${(first.ms / found).toFixed(2)} ms each; resident: ${rss()} MiB`,
)
const times = []
for (let i = 0; i < 40; i++) {
  // The folder's own time is of the first look: what a look costs just after a change is not meant.
  if (i === 0) await new Promise((resolve) => setTimeout(resolve, 2100))
  times.push((await cpu(() => look.look())).ms)
}
times.sort((a, b) => a - b)
console.log(
  `a look when nothing has changed: median ${times[20].toFixed(1)} ms, largest ${times.at(-1).toFixed(1)} ms of CPU (every tenth lists the folder); resident: ${rss()} MiB`,
)
for (let i = 0; i < 100; i++) {
  const step = count + 1 + i
  const folder = join(run, `checkpoint-${step}`)
  mkdirSync(folder)
  linkSync(adapter, join(folder, 'adapter_model.safetensors'))
  linkSync(config, join(folder, 'adapter_config.json'))
  writeFileSync(
    join(folder, 'trainer_state.json'),
    `{"global_step": ${step}, "save_steps": 1, "log_history": ${history}}`,
  )
  if ((await look.look()).complete.length !== 1) throw new Error(`step ${step} was not found`)
}
console.log(`100 more checkpoints, a look after each; resident: ${rss()} MiB`)
