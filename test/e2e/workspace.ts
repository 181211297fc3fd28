import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { type ChildOptions, type Finished, runCli } from '../helpers/child.js'
import { TINY_BASE, TINY_PACK } from '../helpers/tiny.js'

export const MODEL = ['-m', TINY_BASE]
/** The flags of every command that reads the tiny trait pack on the tiny base. */
export const MODEL_AND_PACK = [...MODEL, '--traits', TINY_PACK]

/** A folder with a cache of its own, for the commands of one test file. */
export class Workspace {
  readonly folder = mkdtempSync(join(tmpdir(), 'traitscope-e2e-'))

  constructor() {
    afterAll(() => rmSync(this.folder, { recursive: true, force: true }))
  }

  path(...names: string[]): string {
    return join(this.folder, ...names)
  }

  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }

  /** The command line, run in the workspace's folder. */
  run(args: readonly string[], options: Omit<ChildOptions, 'args'> = {}): Promise<Finished> {
    return runCli(args, { cwd: this.folder, ...options, env: { ...this.env, ...options.env } })
  }

  /** As {@link run}, for a command that must succeed. */
  async succeed(args: readonly string[], options: Omit<ChildOptions, 'args'> = {}): Promise<Finished> {
    const finished = await this.run(args, options)
    if (finished.code !== 0) throw new Error(`traitscope ${args.join(' ')}\n${finished.stderr}`)
    return finished
  }

  /** Directions of the tiny base at layers 1 to 3. */
  async directions(name = 'directions'): Promise<string> {
    const out = this.path(name)
    await this.succeed(['directions', ...MODEL_AND_PACK, '-l', '1,2,3', '--no-probes', '-o', out])
    return out
  }

  get env(): NodeJS.ProcessEnv {
    return { XDG_CACHE_HOME: this.path('cache'), XDG_STATE_HOME: this.path('state') }
  }
}
