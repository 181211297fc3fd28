import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { packageRoot } from '../../lib/package.js'

export interface Finished {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface ChildOptions {
  args?: readonly string[]
  /** Node's own flags, e.g. `--expose-gc`. */
  nodeFlags?: readonly string[]
  env?: NodeJS.ProcessEnv
  cwd?: string
  input?: string
  /** Runs under `ulimit -S -v` with this many KiB of address space, which `prlimit` can lift while it runs. */
  addressSpaceKib?: number
  /** Called with the running child. */
  onStart?: (child: ChildProcess) => void
}

/** Runs a compiled program (dist/ or a .mjs) in a Node process of its own and waits for its end. */
export function runNode(file: string, options: ChildOptions = {}): Promise<Finished> {
  const { args = [], nodeFlags = [], addressSpaceKib, input } = options
  const command = [process.execPath, ...nodeFlags, join(packageRoot, file), ...args]
  // vitest colours its own environment and marks CI; the child must see a user's.
  const { FORCE_COLOR: _, NODE_OPTIONS: __, ...env } = process.env
  const child = spawn(
    addressSpaceKib === undefined ? command[0]! : 'sh',
    addressSpaceKib === undefined
      ? command.slice(1)
      : ['-c', `ulimit -S -v ${addressSpaceKib}; exec "$@"`, 'sh', ...command],
    { cwd: options.cwd ?? packageRoot, env: { ...env, ...options.env }, stdio: 'pipe' },
  )
  options.onStart?.(child)
  child.stdin.end(input ?? '')
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** Runs the command line as a user does. */
export function runCli(args: readonly string[], options: Omit<ChildOptions, 'args'> = {}): Promise<Finished> {
  return runNode('dist/bin/traitscope.js', { ...options, args })
}
