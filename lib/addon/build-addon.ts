import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { abortedError, throwIfAborted } from '../errors.js'
import { packageRoot } from '../package.js'

/** What is compiled. */
export interface BuildOptions {
  /** With ggml's CUDA backend; needs nvcc. */
  cuda?: boolean
  /** As the prebuilt packages are: kernels and backends as libraries, so that others can be added. */
  portable?: boolean
  /** From nothing, not from what an earlier build left. */
  clean?: boolean
  signal?: AbortSignal
}

/**
 * Compiles the addon for this machine, into the package's own folder, where it goes before the prebuilt one. What it lacks it
 * fetches into the cache, by npm: the source of llama.cpp (34 MB) and cmake-js with its headers. It talks on standard error.
 *
 * @returns whether it succeeded; why not it has said.
 */
export async function buildAddon({ cuda, portable, clean, signal }: BuildOptions = {}): Promise<boolean> {
  throwIfAborted(signal)
  const script = join(packageRoot, 'scripts', 'build-native.mjs')
  const flags = Object.entries({ cuda, portable, clean }).flatMap(([name, on]) => (on ? [`--${name}`] : []))
  const child = spawn(process.execPath, [script, ...flags], { stdio: ['ignore', 2, 2], signal })
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(signal?.aborted ? abortedError(signal) : error))
    child.on('close', (code) => resolve(code === 0))
  })
}
