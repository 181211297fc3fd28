import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { replayRun } from '../../lib/demo/replay.js'
import { scanRunFolder } from '../../lib/formats/run/run-folder.js'
import { writeCheckpoint } from '../trajectory/fake-run.js'

vi.mock('node:timers/promises')
const pause = vi.mocked(sleep)

let folder: string
let source: string
let target: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-replay-'))
  source = join(folder, 'source')
  target = join(folder, 'target')
  await writeCheckpoint(source, 10, 1)
  await writeCheckpoint(source, 20, 2)
  pause.mockReset().mockResolvedValue(undefined)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const checkpoints = async () => (await scanRunFolder(source)).checkpoints

/** `10 complete`, `20 incomplete`: the run as a watch sees it. */
async function seen(): Promise<string> {
  const { checkpoints } = await scanRunFolder(target)
  return checkpoints.map(({ step, state }) => `${step} ${state}`).join(', ')
}

describe('replayRun', () => {
  it('should go through the half-written states of a trainer', async () => {
    const states: string[] = []
    pause.mockImplementation(async () => {
      states.push(await seen().catch(() => 'nothing'))
    })
    await replayRun(await checkpoints(), target, { paceMs: 1000 })
    states.push(await seen())
    expect(states).toEqual([
      'nothing', // training
      '10 incomplete', // weights cut short
      '10 incomplete', // no trainer_state.json
      '10 complete',
      '10 complete, 20 incomplete',
      '10 complete, 20 incomplete',
      '10 complete, 20 complete',
    ])
    expect(pause.mock.calls.reduce((sum, [ms]) => sum + ms!, 0)).toBeCloseTo(2000)
  })

  it('should write the files of the source, byte for byte', async () => {
    await replayRun(await checkpoints(), target, { paceMs: 0 })
    for (const name of await readdir(join(source, 'checkpoint-20'))) {
      const [a, b] = [source, target].map((root) => readFile(join(root, 'checkpoint-20', name)))
      expect(await a).toEqual(await b)
    }
  })

  it('should stop between two files when it is aborted', async () => {
    const stop = new AbortController()
    pause.mockImplementation(async () => {
      if (pause.mock.calls.length < 5) return
      stop.abort()
      throw stop.signal.reason
    })
    const replay = replayRun(await checkpoints(), target, { paceMs: 1000, signal: stop.signal })
    await expect(replay).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await seen()).toBe('10 complete, 20 incomplete')
  })

  it('should name a checkpoint that is gone', async () => {
    const list = await checkpoints()
    await rm(join(source, 'checkpoint-20'), { recursive: true })
    await expect(replayRun(list, target, { paceMs: 0 })).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining('checkpoint-20'),
    })
  })
})
