import { integerOption, type OptionKinds } from '../arguments.js'
import { backendProblems, binding, type NativeDevice, type NativeDeviceMemory } from '../binding.js'
import { TraitscopeError } from '../errors.js'

/** Where a model computes, as asked for. */
export interface PlacementOptions {
  /**
   * `'auto'` (default): the GPU with the most free memory, where one is built in and present, else the CPU. `'cpu'`: the
   * CPU alone. Else the name of a device, as `traitscope doctor` shows it.
   */
  device?: string | undefined
  /**
   * How many of the blocks that run, from the first on, go to the device; one more than a whole model has takes its output
   * head too, and more mean all. `'auto'` (default): as many as its memory allows.
   */
  gpuLayers?: number | 'auto' | undefined
  /**
   * Bytes of the device's memory to take at most. Default: what is free, and under `'auto'` half of that, so that what
   * trains there keeps the other half.
   */
  maxVram?: number | undefined
}

export const PLACEMENT_OPTIONS: OptionKinds<PlacementOptions> = {
  device: 'string',
  gpuLayers: 'any',
  maxVram: 'number',
}

/** Where a model's blocks are, and what that takes. */
export interface ModelPlacement {
  /** ggml's name of the device; `'cpu'` for the CPU. */
  readonly device: string
  readonly description: string
  /** Blocks there, of those that run; the output head counts as one where it runs. */
  readonly onDevice: number
  readonly runs: number
  /** Planned bytes of the device's memory. Absent on the CPU. */
  readonly plannedBytes?: number
  /** Free there before, in bytes; 0 where the device does not say. Absent on the CPU. */
  readonly freeBytes?: number
  readonly totalBytes?: number
  /** Why it is not what was asked for, or could be wished: one sentence. */
  readonly note?: string
}

/** What drivers and libraries take for themselves, which no allocator counts. */
export const DRIVER_BYTES = 512 * 2 ** 20

/** More than any model has. */
export const ALL_BLOCKS = 10_000

const AUTO_SHARE = 0.5

const ON_CPU = { device: 'cpu', description: 'cpu', onDevice: 0 } as const

/**
 * Decides where a model's blocks go, by llama.cpp's own allocator, before anything is allocated.
 *
 * @param runs blocks that run, and the output head where it does
 * @param plan memory with that many of them on the device of that name
 * @throws TraitscopeError USAGE, DEVICE for one that is not there or fails its self-check, OUT_OF_MEMORY where what was asked for does not fit
 */
export async function placeModel(
  options: PlacementOptions,
  runs: number,
  plan: (device: string, onDevice: number) => Promise<readonly NativeDeviceMemory[]>,
  {
    devices = binding().devices(),
    lost = backendProblems(),
    problemOf,
  }: {
    devices?: readonly NativeDevice[]
    /** Why backends that were added are not there. */
    lost?: readonly string[]
    /** Why a device must not be used. */
    problemOf: (device: NativeDevice) => Promise<string | undefined>
  },
): Promise<ModelPlacement> {
  const { gpuLayers = 'auto', maxVram } = options
  const wanted =
    gpuLayers === 'auto' ? runs : Math.min(runs, integerOption('gpuLayers', gpuLayers, 0, 1_000_000))
  if (maxVram !== undefined) integerOption('maxVram', maxVram, 0, Number.MAX_SAFE_INTEGER)
  const device = chooseDevice(options, devices)
  if (device === undefined || wanted === 0) {
    const missing = device === undefined && gpuLayers !== 'auto' && wanted > 0
    return {
      ...ON_CPU,
      runs,
      ...(missing ? { note: 'no GPU is built in and present: the CPU computes' } : {}),
      ...(lost.length > 0 && options.device !== 'cpu' && wanted > 0
        ? { note: `${lost.join('; ')}; the CPU computes` }
        : {}),
    }
  }
  const { name, description, memoryFree, memoryTotal } = device
  const problem = await problemOf(device)
  if (problem !== undefined) {
    if (options.device !== undefined && options.device !== 'auto') {
      throw new TraitscopeError('DEVICE', `${problem}, or compute with --device cpu`)
    }
    return { ...ON_CPU, runs, note: `${problem}; the CPU computes` }
  }
  const place = (onDevice: number, plannedBytes: number, note?: string): ModelPlacement => ({
    ...{ device: name, description, onDevice, runs, plannedBytes },
    ...{ freeBytes: memoryFree, totalBytes: memoryTotal, ...(note === undefined ? {} : { note }) },
  })
  const bytesOf = async (onDevice: number) => {
    const all = await plan(name, onDevice)
    return all.filter((each) => each.device === name).reduce((sum, each) => sum + totalOf(each), DRIVER_BYTES)
  }
  const all = await bytesOf(wanted)
  if (memoryTotal === 0)
    return place(wanted, all, `${name} does not say how much memory it has: nothing was checked`)

  const asked = gpuLayers !== 'auto'
  const free = asked ? memoryFree : memoryFree * AUTO_SHARE
  const budget = maxVram === undefined ? free : Math.min(maxVram, memoryFree)
  if (all <= budget) return place(wanted, all)
  const found = `${gib(budget)} of the ${gib(memoryFree)} that are free there may be taken`
  if (asked) {
    throw new TraitscopeError(
      'OUT_OF_MEMORY',
      `${wanted} blocks on ${name} take ${gib(all)}, and ${found}: ask for fewer (--gpu-layers), or let auto choose`,
    )
  }
  const fitting = await mostThatFit(wanted, all, budget, bytesOf)
  if (fitting === undefined) {
    const note = `${name} is not used: one block takes more than fits, ${found}; the CPU computes`
    return { ...ON_CPU, runs, note }
  }
  return place(
    fitting.onDevice,
    fitting.bytes,
    `all ${runs} blocks on ${name} take ${gib(all)}, and ${found}: the last ${runs - fitting.onDevice} run on the CPU`,
  )
}

const totalOf = ({ weights, context, compute }: NativeDeviceMemory) => weights + context + compute

/** The largest number of blocks that fits: blocks are alike, so a straight line finds it, and then it is checked. */
async function mostThatFit(
  all: number,
  allBytes: number,
  budget: number,
  bytesOf: (onDevice: number) => Promise<number>,
): Promise<{ onDevice: number; bytes: number } | undefined> {
  if (all < 2) return undefined
  const one = await bytesOf(1)
  if (one > budget) return undefined
  const perBlock = (allBytes - one) / (all - 1)
  let best = { onDevice: 1, bytes: one }
  for (let n = Math.min(all - 1, 1 + Math.ceil((budget - one) / perBlock)); n > 1; n--) {
    const bytes = await bytesOf(n)
    if (bytes > budget) continue
    best = { onDevice: n, bytes }
    break
  }
  return best
}

/** The device that is asked for; undefined for the CPU. */
function chooseDevice(
  { device = 'auto', gpuLayers }: PlacementOptions,
  all: readonly NativeDevice[],
): NativeDevice | undefined {
  const gpus = all.filter(({ isGpu }) => isGpu)
  if (device.toLowerCase() === 'cpu' || gpuLayers === 0) return undefined
  if (device === 'auto') return gpus.toSorted((a, b) => b.memoryFree - a.memoryFree)[0]
  const named = gpus.find(({ name }) => name.toLowerCase() === device.toLowerCase())
  if (named) return named
  const names = ['cpu', ...gpus.map(({ name }) => name)].join(', ')
  throw new TraitscopeError(
    'DEVICE',
    `expected a device of ${names}, found ${device}: \`traitscope doctor\` lists them`,
  )
}

const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(bytes < 10 * 2 ** 30 ? 2 : 1)} GiB`

/** One line for who waits: where the model computes. Undefined on a CPU that was not a second choice. */
export function describePlacement(placement: ModelPlacement): string | undefined {
  const { device, description, onDevice, runs, plannedBytes, freeBytes, note } = placement
  if (device === 'cpu') return note
  const place = description === device ? device : `${device} (${description})`
  const plan = `${onDevice} of ${runs} blocks on ${place}, ${gib(plannedBytes!)} of ${gib(freeBytes!)} free planned`
  return note === undefined ? plan : `${plan}; ${note}`
}
