import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { writeSparseModel } from '../helpers/sparse-model.js'
import { TINY_BASE, TINY_PACK, TINY_RUN } from '../helpers/tiny.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
let directions: string
let count = 0
let base: string
beforeAll(async () => {
  directions = await work.directions()
})

interface Event {
  type: string
  step?: number
  reason?: string
  error?: { code: string; message: string }
}

/** Watches a run of one checkpoint; when it is measured the base is changed, and then a second one comes. */
async function watchWhile(change: () => void, ...flags: string[]) {
  const run = work.path(`base-run-${count++}`)
  base = work.path(`base-${count}.gguf`)
  cpSync(TINY_BASE, base)
  const copy = (step: number) =>
    cpSync(join(TINY_RUN, `checkpoint-${step}`), join(run, `checkpoint-${step}`), { recursive: true })
  mkdirSync(run)
  copy(10)
  let text = ''
  let changed = false
  const args = ['watch', '-m', base, '--traits', TINY_PACK, '-d', directions, run, '--interval', '0.05']
  const { code, stdout, signal } = await work.run([...args, '--idle', '2', '--jsonl', ...flags], {
    onStart: (child) =>
      child.stdout!.on('data', (chunk) => {
        text += chunk
        if (changed || !text.includes('"checkpoint","step":10')) return
        changed = true
        change()
        copy(20)
      }),
  })
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Event)
  return { code, signal, events: events.filter(({ type }) => type !== 'secured') }
}

const told = ({ type, step }: Event) => (step === undefined ? type : `${type} ${step}`)

describe('the base of a watch', () => {
  const bytes = readFileSync(TINY_BASE)
  const changes: [what: string, change: () => void][] = [
    ['cut short', () => truncateSync(base, bytes.length >> 1)],
    ['emptied', () => writeFileSync(base, '')],
    ['another model', () => writeFileSync(base, Buffer.from(bytes).fill(7, bytes.length - 4096))],
  ]
  it.each(changes)('should be an error, no verdict and no crash when it is %s', async (what, change) => {
    for (const flags of what === 'cut short' ? [[], ['--lora-mode', 'merge']] : [[]]) {
      const { code, signal, events } = await watchWhile(change, ...flags)
      expect(signal).toBe(null)
      expect(events.map(told).filter((one) => one !== 'waiting 20')).toEqual([
        'baseline',
        'checkpoint 10',
        'error',
        'end',
      ])
      expect(events.find(({ type }) => type === 'error')!.error).toMatchObject({
        code: 'FILE_INVALID',
        message: expect.stringMatching(/^expected the base .* to stay as it was opened/),
      })
      expect(events.at(-1)).toMatchObject({ reason: 'idle', unfinished: [20] })
      expect(code).toBe(1)
    }
  })

  it('should be no matter when the same bytes are written over it', async () => {
    const { code, events } = await watchWhile(() => writeFileSync(base, bytes))
    expect(events.map(told).filter((one) => one !== 'waiting 20')).toEqual([
      'baseline',
      'checkpoint 10',
      'checkpoint 20',
      'end',
    ])
    expect(code).toBe(0)
  })
})

describe.runIf(process.platform === 'linux')('a base that finds no memory', () => {
  it('should be opened when there is some, and be an error at once with --once', async () => {
    const wide = work.path('wide.gguf')
    await writeSparseModel(wide, 2 ** 19) // 1.6 GB
    const run = work.path('waiting-run')
    cpSync(join(TINY_RUN, 'checkpoint-10'), join(run, 'checkpoint-10'), { recursive: true })
    const args = ['watch', '-m', wide, '--traits', TINY_PACK, '-d', directions, run, '--jsonl']
    const addressSpaceKib = 1_900_000
    const once = await work.run([...args, '--once', '--no-state'], { addressSpaceKib })
    expect(once.code).toBe(1)
    expect(once.stderr).toContain('[OUT_OF_MEMORY]')

    let text = ''
    const { stdout } = await work.run([...args, '--interval', '0.05', '--until-step', '10'], {
      addressSpaceKib,
      onStart: (child) =>
        child.stdout!.on('data', (chunk) => {
          text += chunk
          if (text.includes('OUT_OF_MEMORY'))
            execFileSync('prlimit', ['--pid', String(child.pid), '--as=unlimited'])
        }),
    })
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Event & { run?: string })
    expect(events[0]).toMatchObject({ type: 'error', error: { code: 'OUT_OF_MEMORY' } })
    expect(events[0]!.run).toBe(undefined)
    // It was opened, or nobody would know that the directions are another base's.
    expect(events[1]).toMatchObject({ type: 'error', error: { code: 'NOT_COMPARABLE' } })
  })
})
