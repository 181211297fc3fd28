import { mkdir, mkdtemp, realpath, rm, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { realRun } from '../../lib/events/state-folder.js'
import { RunLook } from '../../lib/monitor/run-look.js'
import { RunWatch } from '../../lib/monitor/run-watch.js'
import { writeCheckpoint } from '../trajectory/fake-run.js'
import { story, told, useSteadyClock, watched } from './fake-watch.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
vi.mock('../../lib/events/state-folder.js', { spy: true })
useSteadyClock()

let folder: string
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'traitscope-many-')))
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true, force: true })
})

it('should look again at a share of what is measured where there are many runs, and at all of it in turn', async () => {
  for (let step = 1; step <= 6; step++) await writeCheckpoint(folder, step, step)
  const look = new RunLook(folder, { newestFirst: true, known: () => undefined, retryMs: 1000 })
  const steps = async (runs: number) => (await look.look(undefined, runs)).complete.map(({ step }) => step)
  expect(await steps(1000)).toEqual([1, 2, 3, 4, 5, 6])
  const later = new Date(Date.now() + 60_000)
  for (let step = 1; step <= 6; step++)
    await utimes(join(folder, `checkpoint-${step}`, 'adapter_model.safetensors'), later, later)
  const first = await steps(1000)
  expect(first).toHaveLength(2)
  expect(first).toContain(6)
  const rest: unknown[] = []
  for (let i = 0; i < 4; i++) rest.push(...(await steps(1000)))
  expect([...new Set([...first, ...rest])].sort()).toEqual([1, 2, 3, 4, 5, 6])
})

it('should not ask for the place of every run once for each folder beside them', async () => {
  const [runs, others] = [12, 30]
  for (let i = 0; i < runs; i++) await writeCheckpoint(join(folder, `run${i}`), 10, i + 1)
  for (let i = 0; i < others; i++) await mkdir(join(folder, `other${i}`))
  const seen: number[] = []
  const look = RunWatch.prototype.look
  vi.spyOn(RunWatch.prototype, 'look').mockImplementation(function (this: RunWatch, ...args) {
    if (this.path.endsWith('run0')) seen.push(vi.mocked(realRun).mock.calls.length)
    return look.apply(this, args)
  })
  const events = await watched([join(folder, '*')])
  expect(story(events).filter((one) => one === 'checkpoint 10')).toHaveLength(runs)
  const [before, after] = seen.slice(-2)
  expect(after! - before!).toBeLessThanOrEqual(2 * (runs + others))
})

it('should measure what one run has while the others are still looked at', async () => {
  const [first, second] = [join(folder, 'a'), join(folder, 'b')]
  await writeCheckpoint(first, 10, 1)
  await writeCheckpoint(second, 20, 1)
  const look = RunWatch.prototype.look
  let isTold = () => {}
  const measured = new Promise<void>((resolve) => {
    isTold = resolve
  })
  vi.spyOn(RunWatch.prototype, 'look').mockImplementation(async function (this: RunWatch, ...args) {
    if (this.path === second) await measured
    return look.apply(this, args)
  })
  const events = await watched([first, second], {}, { 'checkpoint 10': isTold })
  expect(events.map(told).filter((one) => one.startsWith('checkpoint'))).toEqual([
    'checkpoint 10',
    'checkpoint 20',
  ])
})
