import { execFile } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { release } from 'node:os'
import { dirname } from 'node:path'
import {
  addonPath,
  binding,
  LLAMA_CPP_VERSION,
  loadedBackends,
  type NativeDevice,
  type NativeSelfCheck,
} from '../binding.js'
import { abortedError, isTraitscopeError, throwIfAborted } from '../errors.js'
import { defaultCacheDir } from '../formats/files/cache-dir.js'
import { sha256 } from '../formats/files/hash.js'
import { KeyedStore } from '../formats/files/keyed-store.js'
import { packageVersion } from '../package.js'

/** What a device makes of a small model, against the CPU. */
export interface DeviceCheck {
  /** ggml's name. */
  device: string
  description: string
  /** By type of weights; empty where the check came to no end. */
  errors: StatedError[]
  /** Why the device is not used: one sentence. */
  problem?: string
}

/** Relative L2 distance of the worst row from the CPU's, for weights of one type. */
export interface StatedError {
  /** Of the weights, e.g. `F32`. */
  type: string
  /** In one decode. */
  unsplit: number
  /** Context tokens in a decode of their own. */
  split: number
  /** The stated error: what is beyond is wrong, not rounded. */
  atMost: number
}

/**
 * What rounding explains: products in TF32 or F16 where a backend has no switch for F32, activations in BF16 or in 8 bits
 * where the CPU's kernels round others. Keys that are missing in a split pass give 0.17.
 */
const AT_MOST: Readonly<Record<string, number>> = {
  F32: 2e-3,
  F16: 4e-3,
  BF16: 1.5e-2,
  Q8_0: 5e-2,
  Q4_K: 8e-2,
}

/** Shaders are compiled in the first pass, which takes minutes on a processor. */
const PATIENCE_MS = 900_000

/** A driver that ends the process, or never returns, does so in a process of its own. */
const CHILD = `
const addon = require(process.argv[1])
addon.loadBackends(process.argv[2])
for (const { path, libraries } of JSON.parse(process.argv[4])) {
  addon.openLibraries(libraries)
  addon.loadBackend(path)
}
addon.selfCheck(process.argv[3], 1).then(
  (checks) => console.log(JSON.stringify({ checks })),
  (error) => console.log(JSON.stringify({ error: error.message })),
)`

const done = new Map<string, Promise<DeviceCheck>>()

/**
 * Reads the states of a small random model on a device and on the CPU, in one decode and in two. Once per device, driver
 * and version: what passed is kept in `cacheDir`.
 */
export async function checkDevice(device: NativeDevice, options: CheckOptions = {}): Promise<DeviceCheck> {
  const { name } = device
  const checking = done.get(name) ?? check(device, options)
  done.set(name, checking)
  try {
    const result = await checking
    if (result.problem !== undefined) done.delete(name) // an update, or memory that became free, may have cured it
    return result
  } catch (error) {
    done.delete(name)
    // Somebody else's signal.
    if (isTraitscopeError(error, 'ABORTED') && !options.signal?.aborted) return checkDevice(device, options)
    throw error
  }
}

interface CheckOptions {
  cacheDir?: string | undefined
  signal?: AbortSignal | undefined
}

async function check(
  { name, description, backend }: NativeDevice,
  { cacheDir = defaultCacheDir(), signal }: CheckOptions,
): Promise<DeviceCheck> {
  throwIfAborted(signal)
  const store = new KeyedStore(cacheDir, { prefix: 'device-', suffix: '.json', maxBytes: 2 ** 20 })
  const key = sha256(
    JSON.stringify({
      schema: 1,
      ...{ name, backend, description: description.replace(/:\d+$/, '') }, // a port is no identity
      ...{ precision: binding().precision(), versions: [packageVersion, LLAMA_CPP_VERSION] },
      libraries: await libraries(),
    }),
  )
  const kept = await readChecks(store.path(key))
  const checks = kept ?? (await inChild(name, signal))
  if (typeof checks === 'string') return { device: name, description, errors: [], problem: checks }
  const errors = checks.map((each) => ({ ...each, atMost: AT_MOST[each.type] ?? 0 }))
  // A NaN is no number in JSON, and below no bound.
  const wrong = errors.find(
    ({ unsplit, split, atMost }) => !(Math.max(unsplit ?? NaN, split ?? NaN) <= atMost),
  )
  if (wrong) {
    const { type, unsplit, split, atMost } = wrong
    const problem = `${name} computes other states than the CPU: relative L2 ${shown(unsplit)} in one decode and ${shown(split)} in two with ${type} weights, expected at most ${atMost}; update its driver`
    return { device: name, description, errors, problem }
  }
  if (!kept) await store.write(key, `${JSON.stringify(checks)}\n`).catch(() => {}) // a read-only home: check again
  return { device: name, description, errors }
}

const shown = (error: number | null) => error?.toExponential(1) ?? 'NaN'

/** What was kept; undefined where there is nothing or it is damaged. */
async function readChecks(path: string): Promise<NativeSelfCheck[] | undefined> {
  try {
    const checks = JSON.parse(await readFile(path, 'utf8'))
    const sound = (each: NativeSelfCheck) =>
      [each.unsplit, each.split].every(Number.isFinite) && each.type in AT_MOST
    return Array.isArray(checks) && checks.length === Object.keys(AT_MOST).length && checks.every(sound)
      ? checks
      : undefined
  } catch {
    return undefined
  }
}

/** Its figures, or why there are none. */
function inChild(device: string, signal: AbortSignal | undefined): Promise<NativeSelfCheck[] | string> {
  const path = addonPath()
  const env = { ...process.env, NODE_OPTIONS: '', ELECTRON_RUN_AS_NODE: '1' }
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['-e', CHILD, path, dirname(path), device, JSON.stringify(loadedBackends())],
      { env, timeout: PATIENCE_MS, killSignal: 'SIGKILL', windowsHide: true, signal },
      (error, stdout) => {
        if (signal?.aborted) reject(abortedError(signal))
        else resolve(outcome(device, error, stdout))
      },
    )
  })
}

function outcome(
  device: string,
  error: { code?: number | string | null; signal?: NodeJS.Signals | null; killed?: boolean } | null,
  stdout: string,
): NativeSelfCheck[] | string {
  try {
    const { checks, error: message } = JSON.parse(stdout.trim().split('\n').at(-1)!)
    return message === undefined ? checks : `${device} could not be checked: ${message}`
  } catch {
    const how = error?.killed
      ? `took more than ${PATIENCE_MS / 60_000} minutes`
      : `ended with ${error?.signal ?? `code ${error?.code ?? 0}`}`
    return `${device} could not be checked: the process that computed on it ${how}; update its driver`
  }
}

/** Drivers and libraries of devices that this process has opened, the addon among them: another version is another device. */
async function libraries(): Promise<unknown> {
  const maps = await readFile('/proc/self/maps', 'utf8').catch(() => '')
  const opened = new Set([addonPath(), ...[...maps.matchAll(/\/\S.*\.so\S*$/gm)].map(([path]) => path)])
  const driver = /ggml|cuda|cublas|nv|vulkan|vk|mesa|dri|LLVM|radeon|amd|hip|roc|intel|metal/i
  const relevant = [...opened].filter((path) => path === addonPath() || driver.test(path)).sort()
  const identities = relevant.map(async (path) => {
    const { size, mtimeMs } = await stat(path).catch(() => ({ size: 0, mtimeMs: 0 }))
    return [path, size, mtimeMs]
  })
  return [release(), await Promise.all(identities)]
}

/** Of every device but the CPU. An addon that cannot be loaded has none. */
export async function checkDevices(signal?: AbortSignal): Promise<DeviceCheck[]> {
  let devices: NativeDevice[]
  try {
    devices = binding().devices()
  } catch (error) {
    if (isTraitscopeError(error)) return [] // doctor says why
    throw error
  }
  const checks: DeviceCheck[] = []
  for (const device of devices.filter(({ isGpu }) => isGpu))
    checks.push(await checkDevice(device, { signal }))
  return checks
}
