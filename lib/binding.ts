/**
 * The one door to the native addon: loads it and turns its errors into TraitscopeErrors.
 */
import { existsSync } from 'node:fs'
import { dirname, isAbsolute } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { type AddonOrigin, type AddonPlace, addonPlaces, loadAddon } from './addon/find-addon.js'
import type { NativeBinding, NativeCancelToken, NativeDevice, NativePrecisionSwitch } from './addon/native.js'
import { commandLine, nextStep } from './addon/next-step.js'
import { type BackendFile, backendFiles } from './backends/backends.js'
import { librariesBefore } from './backends/elf.js'
import { ERROR_CODES, type ErrorCode, messageOf, TraitscopeError, throwIfAborted } from './errors.js'
import { packageVersion } from './package.js'

export type * from './addon/native.js'

/** Release of llama.cpp that the addon is built from; part of every cache key and manifest. */
export const LLAMA_CPP_VERSION = 'v0.5.0'

/** How long a process that leaves waits for jobs that cannot be stopped. */
const PATIENCE_MS = 2000

let loaded: NativeBinding | undefined
let loadedFrom: AddonPlace | undefined
/** Places before that one, and why they were passed over. */
let passedOver: Required<AddonPlace>[] = []
const backends: { loaded: LoadedBackend[]; problems: string[] } = { loaded: [], problems: [] }

/** A backend that was loaded beside the addon's own. */
export interface LoadedBackend extends BackendFile {
  /** What was opened before it, in this order. */
  libraries: readonly string[]
}

/**
 * The loaded addon: a local build of this version, else that of the platform's package.
 *
 * @throws TraitscopeError `BINDING` with every place that was tried, why it failed, and the next command.
 */
export function binding(): NativeBinding {
  if (loaded) return loaded
  const files = backendFiles()
  const tried: Required<AddonPlace>[] = []
  for (const place of addonPlaces()) {
    if (place.problem !== undefined) {
      tried.push({ ...place, problem: place.problem })
      continue
    }
    try {
      const addon = loadAddon<NativeBinding>(place.at)
      openForGgml(addon)
      addon.loadBackends(dirname(place.at))
      // The libraries take themselves apart when the process leaves; no job may be in them then. A worker thread's own
      // jobs are stopped when its environment is cleaned up.
      if (isMainThread) process.once('exit', () => addon.stopJobs(PATIENCE_MS))
      loadMoreBackends(addon, place, files)
      loaded = addon
      loadedFrom = place
      passedOver = tried
      return loaded
    } catch (error) {
      if (error instanceof TraitscopeError && error.code !== 'BINDING') throw error
      tried.push({ ...place, problem: messageOf(error) })
    }
  }
  throw new TraitscopeError(
    'BINDING',
    `the native addon for ${process.platform}-${process.arch} (Node ${process.version}) could not be loaded; tried ` +
      `${tried.map(describePlace).join('; ')}. ${nextStep(tried)}`,
  )
}

/** ggml opens what GGML_BACKEND_PATH names by itself. */
function openForGgml(addon: NativeBinding): void {
  const path = process.env.GGML_BACKEND_PATH
  if (addon.takesBackends && path && isAbsolute(path) && existsSync(path)) addon.openLibraries(needs(path))
}

/** Only on Linux does a library bring a search path of its own. */
const needs = (path: string) => (process.platform === 'linux' ? librariesBefore(path) : [])

/** One that was added and does not load costs the GPU, not the process; one that the environment names does. */
function loadMoreBackends(
  addon: NativeBinding,
  { at }: AddonPlace,
  { named, added }: ReturnType<typeof backendFiles>,
): void {
  backends.loaded = []
  backends.problems = []
  for (const { name, path } of [...(named ? [named] : []), ...added]) {
    try {
      if (!addon.takesBackends) throw new Error(`the backends of ${at} are linked in; ${TO_TAKE_BACKENDS}`)
      const libraries = needs(path)
      addon.openLibraries(libraries)
      addon.loadBackend(path)
      backends.loaded.push({ name, path, libraries })
    } catch (error) {
      const why = `the backend ${name} (${path}) could not be loaded: ${(error as Error).message}`
      if (path === named?.path) throw new TraitscopeError('DEVICE', why, { cause: error })
      backends.problems.push(`${why}; \`${commandLine(`backend remove ${name}`)}\` if it is not wanted`)
    }
  }
}

const TO_TAKE_BACKENDS =
  'the prebuilt package loads others, and so does a build that `traitscope build --portable` makes (ten minutes)'

/** Backends that were loaded beside the addon's own, in their order. @throws as {@link binding} */
export function loadedBackends(): readonly LoadedBackend[] {
  binding()
  return backends.loaded
}

/** Why backends that were added are not there: a sentence each. @throws as {@link binding} */
export function backendProblems(): readonly string[] {
  binding()
  return backends.problems
}

const describePlace = ({ at, problem }: Required<AddonPlace>) => `${at}: ${problem}`

/** Path of the loaded addon. @throws as {@link binding} */
export function addonPath(): string {
  binding()
  return loadedFrom!.at
}

/** Error of the addon (a plain Error with a `code`) as a TraitscopeError; others pass unchanged. */
export function fromNative(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof TraitscopeError) return error
  // V8's word for a typed array that it cannot allocate.
  if (error instanceof RangeError) {
    const message = `the result does not fit in memory (${error.message}): ask for fewer prompts, layers or tokens at once`
    return new TraitscopeError('OUT_OF_MEMORY', message, { cause: error })
  }
  const code = (error as { code?: unknown }).code
  if (!ERROR_CODES.includes(code as ErrorCode)) return error
  return new TraitscopeError(code as ErrorCode, error.message, { cause: error })
}

/**
 * Runs a native call that can be cancelled and reports progress. The signal stops it within milliseconds, and makes it
 * reject with `ABORTED`; an exception of the progress callback stops it too and is what it rejects with.
 */
export async function cancellable<T, E = number>(
  options: { signal?: AbortSignal | undefined; onProgress?: ((event: E) => void) | undefined },
  run: (token: NativeCancelToken, onProgress?: (event: E) => void) => Promise<T>,
): Promise<T> {
  const { signal, onProgress } = options
  throwIfAborted(signal)
  const token = new (binding().CancelToken)()
  const onAbort = () => token.cancel()
  let thrown: { error: unknown } | undefined
  const report = (event: E) => {
    if (thrown) return
    try {
      onProgress!(event)
    } catch (error) {
      thrown = { error }
      token.cancel()
    }
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const result = await run(token, onProgress && report)
    if (thrown) throw thrown.error
    return result
  } catch (error) {
    if (thrown) throw thrown.error
    throwIfAborted(signal)
    throw fromNative(error)
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

let system: string | undefined

/** The processor's features that the kernels were chosen by, as ggml names them. */
export function systemInfo(): string {
  system ??= binding().systemInfo().trim()
  return system
}

/** What is installed here, and what is wrong with it. */
export interface Diagnosis {
  version: string
  llamaCpp: string
  /** Path of the loaded addon; absent when it could not be loaded. */
  addon?: string
  /** Which of the places that is. */
  addonOrigin?: AddonOrigin
  /** Places that go before it, each with the reason why it was passed over. */
  passedOver: string[]
  cpuFeatures?: string
  /** Libraries of backends that were loaded beside the addon's own. */
  backends: string[]
  devices: NativeDevice[]
  precision: NativePrecisionSwitch[]
  /** What is wrong and what to do about it; empty when all is well. */
  problems: string[]
}

/** State of the installation, without throwing. */
export function diagnose(): Diagnosis {
  const base = { version: packageVersion, llamaCpp: LLAMA_CPP_VERSION }
  try {
    const addon = binding()
    const devices = addon.devices()
    const precision = addon.precision()
    return {
      ...base,
      addon: loadedFrom!.at,
      addonOrigin: loadedFrom!.origin,
      passedOver: passedOver.map(describePlace),
      cpuFeatures: systemInfo(),
      backends: loadedBackends().map(({ path }) => path),
      devices,
      precision,
      problems: [...backendProblems()],
    }
  } catch (error) {
    return {
      ...base,
      passedOver: [],
      backends: [],
      devices: [],
      precision: [],
      problems: [messageOf(error)],
    }
  }
}
