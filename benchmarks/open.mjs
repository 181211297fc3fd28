// What opening a model costs: the whole one, and the part that gives the states of one layer; each in a process of its own.
// With --copy also a truncated copy on disk, mapped, which is what the part stands instead of.
//
//   node benchmarks/open.mjs MODEL.gguf --layer 14 [--copy FOLDER] [--no-repack]
import { spawnSync } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { readGguf } from '../dist/lib/formats/gguf/gguf.js'
import { hiddenStates } from '../dist/lib/hidden-states/hidden-states.js'
import { encodePart, ggufUpTo } from '../dist/lib/model/base/gguf-part.js'
import { openModel } from '../dist/lib/model/model.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layer: { type: 'string' },
    copy: { type: 'string' },
    'no-repack': { type: 'boolean', default: false },
    trial: { type: 'string' },
  },
})
const [path] = positionals
const layer = Number(values.layer)

/** MiB, from the kernel. */
async function memory() {
  const status = await readFile('/proc/self/status', 'utf8')
  const of = (name) => Math.round(Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)[1]) / 1024)
  return { rss: of('VmRSS'), anonymous: of('RssAnon'), file: of('RssFile') }
}

async function trial(kind) {
  const cpu = process.cpuUsage()
  const started = performance.now()
  const model = await openModel(path, {
    device: 'cpu',
    repack: !values['no-repack'],
    ...(kind === 'part' ? { layers: [layer] } : {}),
  })
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const opened = await memory()
  const prompt = Int32Array.from({ length: 32 }, (_, i) => (i * 7919) % model.info.nVocab)
  await hiddenStates(model, [prompt], { layers: [layer] })
  const read = await memory()
  const row = { seconds: seconds.toFixed(2), cpu: ((user + system) / 1e6).toFixed(2) }
  console.log(JSON.stringify({ ...row, ...opened, 'rss after a pass': read.rss }))
  process.exit()
}

/** The part as a file. */
async function writeCopy(to) {
  const gguf = await readGguf(path)
  const architecture = gguf.metadata.get('general.architecture')
  const { header, parts } = encodePart(gguf, architecture, ggufUpTo(gguf, architecture, layer))
  const source = await open(path)
  const file = await open(to, 'w')
  await file.write(header)
  const buffer = Buffer.alloc(16 * 2 ** 20)
  for (let i = 0; i < parts.length; i += 3) {
    for (let at = 0; at < parts[i + 1]; at += buffer.length) {
      const size = Math.min(buffer.length, parts[i + 1] - at)
      if (parts[i + 2] < 0) buffer.fill(0)
      else await source.read(buffer, 0, size, parts[i + 2] + at)
      await file.write(buffer, 0, size, header.length + parts[i] + at)
    }
  }
  await file.close()
  await source.close()
}

if (values.trial !== undefined) await trial(values.trial)
if (path === undefined || !Number.isInteger(layer)) {
  console.error('usage: node benchmarks/open.mjs MODEL.gguf --layer N [--copy FOLDER] [--no-repack]')
  process.exit(2)
}
const variants = [
  ['whole', path],
  ['part', path],
]
if (values.copy !== undefined) {
  const copy = join(values.copy, 'copy.gguf')
  const started = performance.now()
  await writeCopy(copy)
  console.log(`copy written in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  variants.push(['copy', copy])
}
const self = fileURLToPath(import.meta.url)
const rows = {}
for (let round = 0; round < 3; round++) {
  for (const [kind, file] of variants) {
    const flags = ['--layer', String(layer), '--trial', kind, ...(values['no-repack'] ? ['--no-repack'] : [])]
    const { stdout, stderr, status } = spawnSync(process.execPath, [self, file, ...flags], {
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(stderr)
    rows[`${kind} ${round + 1}`] = JSON.parse(stdout)
  }
}
console.log('memory in MiB')
console.table(rows)
