// States on Vulkan against those of the CPU, in one decode and in two, without a GPU: on Mesa's software driver, which reorders
// graphs as real drivers' do. Every pass is a process of its own: the Mesa of Debian 12 corrupts its heap when a second one follows
// an adapter.
//
//   apt-get install libvulkan1 mesa-vulkan-drivers
//   node scripts/test-vulkan.mjs                  on the tiny base (minutes: shaders are compiled for the processor)
//   node scripts/test-vulkan.mjs MODEL.gguf LAYER on another
//
// The backend is the published one of `traitscope backend add vulkan`; no shader compiler is needed.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addBackend, publishedBackend } from '../dist/lib/backends/backends.js'
import { root } from './llama-source.mjs'
import { SetupError } from './npm-package.mjs'
import { app, makeDeviceApp } from './test-device.mjs'

const ICD = '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json'
const PROMPTS = [
  'How long does bread keep?',
  'How long does it rain in a town like this?',
  'Name three rivers.',
]
/** What llvmpipe's arithmetic explains; keys that are missing move states by a sixth. */
const AT_MOST = 5e-3

/** Runs in the app: one pass, its rows on standard output. */
async function pass([path, layer, device, split]) {
  const { openModel } = await import(join(app, 'dist/lib/model/model.js'))
  const { planPrompts } = await import(join(app, 'dist/lib/prompts/plan.js'))
  const model = await openModel(path, {
    layers: [Number(layer)],
    device,
    threads: 1,
    batchTokens: 256,
    repack: false,
  })
  const tokens = await model.tokenize(PROMPTS)
  const adapter =
    path === TINY ? await model.attach(join(app, 'test/fixtures/tiny/run/checkpoint-60')) : undefined
  const { batches, nRows } = planPrompts(tokens, { maxTokens: 256, pool: 'last' })
  const splitFrom = split === 'split' ? 1 : Number.MAX_SAFE_INTEGER
  const { data, contextTokens } = await model.extract({
    ...{ batches, nRows, layers: [Number(layer)], splitFrom },
    adapters: adapter ? [adapter] : [],
  })
  console.log(JSON.stringify({ data: [...data], contextTokens }))
  process.exit()
}

const TINY = join(app, 'test/fixtures/tiny/base.gguf')

function relativeL2(a, b) {
  const sum = (of) => a.reduce((total, _, i) => total + of(i) ** 2, 0)
  return Math.sqrt(sum((i) => a[i] - b[i]) / sum((i) => b[i]))
}

async function main([path = TINY, layer = '2']) {
  if (!existsSync(ICD))
    throw new SetupError(`${ICD} is not there: apt-get install libvulkan1 mesa-vulkan-drivers`)
  makeDeviceApp()
  const backend = await addBackend(publishedBackend('vulkan'), join(root, 'build-device'))
  const vulkan = { VK_ICD_FILENAMES: ICD, GGML_VK_VISIBLE_DEVICES: '0', TRAITSCOPE_BACKEND: backend }
  const states = (device, split) => {
    const env = { ...process.env, ...(device === 'cpu' ? {} : vulkan) }
    delete env.TRAITSCOPE_TEST_RPC
    const args = [fileURLToPath(import.meta.url), '--pass', path, layer, device, split]
    const run = spawnSync(process.execPath, args, { encoding: 'utf8', env, maxBuffer: 1 << 28 })
    if (run.status !== 0)
      throw new SetupError(`the pass on ${device} ended with ${run.signal ?? run.status}:\n${run.stderr}`)
    return JSON.parse(run.stdout.trim().split('\n').at(-1))
  }
  const cpu = states('cpu', 'unsplit')
  const rows = {}
  for (const [device, split] of [
    ['cpu', 'split'],
    ['Vulkan0', 'unsplit'],
    ['Vulkan0', 'split'],
  ]) {
    const { data, contextTokens } = states(device, split)
    if (contextTokens > 0 !== (split === 'split'))
      throw new SetupError(`the ${split} pass has ${contextTokens} context tokens`)
    rows[`${device} ${split}`] = relativeL2(data, cpu.data)
  }
  console.log('relative L2 against the CPU in one decode')
  console.table(rows)
  if (!(Math.max(...Object.values(rows)) <= AT_MOST)) throw new SetupError(`expected at most ${AT_MOST}`)
}

try {
  const [flag, ...rest] = process.argv.slice(2)
  await (flag === '--pass' ? pass(rest) : main(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(`traitscope: ${error.message}`)
  process.exit(1)
}
