import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runNode } from '../helpers/child.js'
import { writeSparseModel } from '../helpers/sparse-model.js'
import { TINY_BASE, TINY_RUN, writeTinyWithContext } from '../helpers/tiny.js'

// Everything here runs in a process of its own, because what it tests for is the end of the process.
const child = (name: string) => `test/lifecycle/children/${name}.mjs`

// V8's young space of one size: it may grow by 16 MB between two readings else.
const FLAT = ['--expose-gc', '--min-semi-space-size=1', '--max-semi-space-size=1']

describe('the host process', () => {
  it('should leave with its own exit code while a pass runs', async () => {
    const run = await runNode(child('exit-while-extracting'), { args: [TINY_BASE, 'exit'] })
    expect(run).toMatchObject({ code: 7, signal: null })
  })

  it('should report an exception thrown in a progress callback like any other', async () => {
    const run = await runNode(child('exit-while-extracting'), { args: [TINY_BASE, 'throw'] })
    expect(run).toMatchObject({ code: 1, signal: null })
    expect(run.stderr).toContain('thrown in a progress callback')
  })

  it('should leave, or report an exception, while sequences are generated', async () => {
    const left = await runNode(child('generate'), { args: [TINY_BASE, 'exit'] })
    expect(left).toMatchObject({ code: 7, signal: null })
    const thrown = await runNode(child('generate'), { args: [TINY_BASE, 'throw'] })
    expect(thrown).toMatchObject({ code: 1, signal: null })
    expect(thrown.stderr).toContain('thrown in a token callback')
  })

  it('should survive a worker thread that is terminated while it generates', async () => {
    const run = await runNode(child('generate'), { args: [TINY_BASE, 'worker'] })
    expect(run).toMatchObject({ code: 0, signal: null, stdout: '5\n' })
  })

  it('should end by itself with a model and an adapter open', async () => {
    const run = await runNode(child('exit-idle'), { args: [TINY_BASE, join(TINY_RUN, 'checkpoint-60')] })
    expect(run).toMatchObject({ code: 0, signal: null, stdout: '64\n' })
  })

  it('should keep memory flat over 400 adapter swaps', async () => {
    const run = await runNode(child('swap-adapters'), {
      args: [TINY_BASE, TINY_RUN, '600'],
      nodeFlags: FLAT,
    })
    expect(run).toMatchObject({ code: 0, signal: null })
    const [early, late] = JSON.parse(run.stdout) as [number, number]
    console.info(`resident after 200 swaps ${early.toFixed(0)} MB, after 600 ${late.toFixed(0)} MB`)
    // A leaked adapter a swap would be 24 MB, its file alone; without one it is 2 to 3.
    expect(late - early).toBeLessThan(10)
  })

  it('should free forgotten models by garbage collection', async () => {
    const run = await runNode(child('collect-models'), { args: [TINY_BASE], nodeFlags: FLAT })
    expect(run).toMatchObject({ code: 0, signal: null })
    const rss = JSON.parse(run.stdout) as number[]
    console.info(
      `resident after every fourth forgotten model: ${rss.map((mb) => mb.toFixed(0)).join(', ')} MB`,
    )
    expect(rss.at(-1)! - rss[1]!).toBeLessThan(60)
  })

  it('should survive worker threads that end well and worker threads that are terminated', async () => {
    const run = await runNode(child('worker'), { args: [TINY_BASE] })
    expect(run).toMatchObject({ code: 0, signal: null, stdout: '64\n' })
  })
})

describe.runIf(process.platform === 'linux')('memory that is not there', () => {
  let folder: string
  let huge: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'traitscope-'))
    huge = join(folder, 'huge.gguf')
    await writeSparseModel(huge, 2 ** 21)
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('should reject with OUT_OF_MEMORY when the weights do not fit', async () => {
    const run = await runNode(child('out-of-memory'), { args: [huge, 'load'], addressSpaceKib: 4_000_000 })
    expect(run).toMatchObject({ code: 0, signal: null, stdout: 'OUT_OF_MEMORY\n' })
  })

  it('should reject with OUT_OF_MEMORY when the context does not fit', async () => {
    const run = await runNode(child('out-of-memory'), {
      args: [TINY_BASE, 'context'],
      addressSpaceKib: 1_900_000,
    })
    expect(run).toMatchObject({ code: 0, signal: null, stdout: 'OUT_OF_MEMORY\n' })
  })

  it('should reject with OUT_OF_MEMORY when the sequences do not fit, and go on with fewer', async () => {
    const path = join(folder, 'long.gguf')
    await writeTinyWithContext(path, 65536)
    const run = await runNode(child('generate'), { args: [path, 'memory'], addressSpaceKib: 3_000_000 })
    expect(run).toMatchObject({ code: 0, signal: null, stdout: 'OUT_OF_MEMORY\n5\n' })
  })
})
