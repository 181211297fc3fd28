import { type ChildProcess, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Verdict } from '../../lib/detector/verdict.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { packageRoot } from '../../lib/package.js'
import { schemaErrors } from '../helpers/schemas.js'
import { TINY_RUN } from '../helpers/tiny.js'
import { MODEL_AND_PACK, Workspace } from './workspace.js'

interface Event {
  type: string
  step?: number
  reason?: string
  cached?: boolean
  error?: { code: string; message: string }
  verdict?: Verdict
}

const work = new Workspace()
let directions: string
beforeAll(async () => {
  directions = await work.directions()
})

let run: string
let count = 0
beforeEach(() => {
  run = work.path(`run-${count++}`)
})

const copy = (step: number) =>
  cpSync(join(TINY_RUN, `checkpoint-${step}`), join(run, `checkpoint-${step}`), { recursive: true })

const weights = (step: number) => join(`checkpoint-${step}`, 'adapter_model.safetensors')

/** The lines of `--jsonl`, each as docs/formats has it. */
const events = (stdout: string): Event[] => {
  const lines = stdout.split('\n').filter((line) => line !== '')
  const list = lines.map((line) => JSON.parse(line) as Event)
  expect(list.flatMap((event) => schemaErrors('event', event, { ours: true }))).toEqual([])
  return list
}

const told = ({ type, step }: Event) => (step === undefined ? type : `${type} ${step}`)

/** What a watch says of its checkpoints, without how it keeps their files. */
const story = (list: readonly Event[]) => list.filter(({ type }) => type !== 'secured').map(told)

const command = (...args: string[]) => [
  'watch',
  ...[...MODEL_AND_PACK, '-d', directions, '--no-prior', run],
  ...['--interval', '0.05', ...args],
]

/** Calls `action` once for each line that contains its key, as the child prints it. */
function onLine(script: Record<string, (child: ChildProcess) => void>) {
  const pending = new Map(Object.entries(script))
  return (child: ChildProcess) => {
    let text = ''
    child.stdout!.on('data', (chunk) => {
      text += chunk
      for (const [key, action] of pending) {
        if (!text.includes(key)) continue
        pending.delete(key)
        action(child)
      }
    })
  }
}

describe('traitscope watch', () => {
  it('should give provisional verdicts without a bundle and directions', async () => {
    copy(10)
    copy(60)
    const { stdout } = await work.succeed(['watch', ...MODEL_AND_PACK, run, '--once', '--jsonl'])
    const measured = events(stdout).filter(({ type }) => type === 'checkpoint')
    expect(measured.map(({ verdict }) => [verdict!.verdict, verdict!.basis])).toEqual([
      ['ok', 'prior'],
      // Above the threshold, but no alarm stands on what models of another trait pack say.
      ['warn', 'prior'],
    ])
    const { reasons, contributions, categoryContributions, answers } = measured[1]!.verdict!
    expect(reasons.join('\n')).toMatch(/^provisional: no judged run of this base is known/m)
    const sum = (all: { value: number }[]) => all.reduce((total, { value }) => total + value, 0)
    expect(sum(categoryContributions!)).toBeCloseTo(sum(contributions!), 10)
    // Nor a share of answers.
    expect(answers).toBeUndefined()
  })

  it('should measure what is there with --once, as a table', async () => {
    copy(10)
    copy(20)
    const { stdout, stderr } = await work.succeed(command('--once'))
    const [header, ...rows] = stdout.trimEnd().split('\n')
    expect(header).toMatch(/^step +loss +verdict +length +honesty .* read$/)
    expect(rows.map((row) => row.split(/ +/).slice(0, 2))).toEqual([
      ['10', '0.3977'],
      ['20', '0.3736'],
    ])
    for (const [i, row] of rows.entries()) {
      const file = weights(10 * (i + 1))
      const hash = sha256(readFileSync(join(run, file))).slice(0, 12)
      expect(row).toMatch(new RegExp(` ${file} ${hash}$`))
    }
    expect(stderr.match(/^drift at layer \d, in units of the step-0 activation norm$/gm)).toHaveLength(1)
    expect(stderr).toMatch(/ended \(once\): 2 checkpoints measured/)
  })

  it('should print one JSON document with --json', async () => {
    copy(10)
    const { stdout } = await work.succeed(command('--once', '--json', '-q'))
    const list = JSON.parse(stdout) as Event[]
    expect(story(list)).toEqual(['baseline', 'checkpoint 10', 'end'])
  })

  it('should follow a run while it is written, half-written checkpoints included', async () => {
    const start = onLine({
      'does not exist yet': () => {
        // All that is there at first comes at once: a look in between would wait for something else.
        const [beside, half] = [join(run, 'tmp'), readFileSync(join(TINY_RUN, weights(10)))]
        mkdirSync(beside, { recursive: true })
        for (const name of ['adapter_config.json', 'trainer_state.json'])
          cpSync(join(TINY_RUN, 'checkpoint-10', name), join(beside, name))
        writeFileSync(join(beside, 'adapter_model.safetensors'), half.subarray(0, half.length / 2))
        renameSync(beside, join(run, 'checkpoint-10'))
      },
      '"waiting","step":10': () => {
        const bytes = readFileSync(join(TINY_RUN, weights(10)))
        appendFileSync(join(run, weights(10)), bytes.subarray(bytes.length / 2))
      },
      '"checkpoint","step":10': () => {
        // A trainer that writes beside the name and renames.
        cpSync(join(TINY_RUN, 'checkpoint-20'), join(run, 'tmp-checkpoint-20'), { recursive: true })
        renameSync(join(run, 'tmp-checkpoint-20'), join(run, 'checkpoint-20'))
      },
    })
    const { code, stdout } = await work.run(command('--until-step', '20', '--jsonl'), { onStart: start })
    expect(code).toBe(0)
    const list = events(stdout)
    expect(story(list).filter((name) => name !== 'waiting')).toEqual([
      'baseline',
      'waiting 10',
      'checkpoint 10',
      'checkpoint 20',
      'end',
    ])
    expect(list.at(-1)).toMatchObject({ reason: 'until-step', measured: 2 })
    expect(readdirSync(run).sort()).toEqual(['checkpoint-10', 'checkpoint-20'])
  })

  it('should end with --idle when nothing happens', async () => {
    const { code, stdout, stderr } = await work.run(command('--idle', '0.2', '--jsonl', '-q'))
    expect(events(stdout).map(told)).toEqual(['baseline', 'waiting', 'end'])
    expect(events(stdout).at(-1)).toMatchObject({ reason: 'idle' })
    // Nothing was measured, so nothing is known to be clean.
    expect(code).toBe(1)
    expect(stderr).toMatch(/^no checkpoint was measured: expected checkpoint-N folders in /)
  })

  it('should report a checkpoint that cannot be measured, go on, and exit 1', async () => {
    copy(10)
    copy(20)
    // rank 16 in the weights, 8 in the configuration
    const file = join(run, 'checkpoint-10/adapter_config.json')
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"r": 16/, '"r": 8'))
    const { code, stdout } = await work.run(command('--once', '--jsonl'))
    const list = events(stdout)
    expect(story(list)).toEqual(['baseline', 'error 10', 'checkpoint 20', 'end'])
    expect(list.find(({ type }) => type === 'error')!.error).toMatchObject({
      code: 'ADAPTER_INVALID',
      message: expect.stringContaining('8'),
    })
    expect(code).toBe(1)
  })

  it('should be no clean bill of health where a checkpoint was never finished, nor should measure', async () => {
    copy(10)
    copy(20)
    const bytes = readFileSync(join(TINY_RUN, weights(20)))
    writeFileSync(join(run, weights(20)), bytes.subarray(0, bytes.length / 2))
    const { code, stdout } = await work.run(command('--once', '--jsonl'))
    expect(events(stdout).at(-1)).toMatchObject({ reason: 'once', measured: 1, unfinished: [20] })
    const measured = await work.run(['measure', ...MODEL_AND_PACK, '-d', directions, '--no-prior', run])
    expect(measured.stdout).toMatch(/^step 20 was skipped: .* is cut short/m)
    expect([code, measured.code]).toEqual([1, 1])
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('should end in order on %s with exit code 130', async (signal) => {
    copy(10)
    const start = onLine({ '"checkpoint","step":10': (child) => child.kill(signal) })
    const { code, stdout } = await work.run(command('--jsonl'), { onStart: start })
    expect(code).toBe(130)
    expect(events(stdout).at(-1)).toMatchObject({ type: 'end', reason: 'aborted', measured: 1 })
  })

  it('should refuse with --once a run that is not there before any work, and say what directions cost', async () => {
    const { code, stdout, stderr } = await work.run(command('--once'))
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(
      /^traitscope: expected a run's folder at .*run-\d+, since --once .* \[FILE_NOT_FOUND\]\n$/,
    )
    copy(10)
    const made = await work.run(['watch', ...MODEL_AND_PACK, '-l', '1', run, '--once', '--no-prior'])
    expect(made.stderr).toMatch(/^no --directions: they are made first, at layer 1, and are not kept; /m)
  })

  it('should take a signal that comes twice at once for one, as those that timeout hands on', async () => {
    copy(10)
    const twice = (child: ChildProcess) => [child.kill('SIGINT'), child.kill('SIGTERM')]
    const start = onLine({ '"checkpoint","step":10': twice })
    const { code, stdout } = await work.run(command('--jsonl'), { onStart: start })
    expect(code).toBe(130)
    expect(events(stdout).at(-1)).toMatchObject({ type: 'end', reason: 'aborted', measured: 1 })
  })

  it.runIf(existsSync('/usr/bin/script'))(
    'should show on a terminal what an earlier watch measured',
    async () => {
      copy(10)
      copy(20)
      expect((await work.run(command('--once'))).code).toBe(0)
      const words = [process.execPath, join(packageRoot, 'dist/bin/traitscope.js'), ...command('--once')]
      const quoted = words.map((word) => `'${word}'`).join(' ')
      const { stdout } = spawnSync('script', ['-qec', `stty cols 90 rows 40; ${quoted}`, '/dev/null'], {
        env: { ...process.env, ...work.env, CI: undefined, TERM: 'xterm' },
        encoding: 'utf8',
      })
      const last = stdout.split('\u001b[?2026h').at(-1)
      expect(last).toMatch(/step 20, ended \(once\)/)
      expect(last).not.toContain('no checkpoint yet')
    },
  )

  it.runIf(existsSync('/dev/full'))('should go on where nothing can be printed, its disk being full', () => {
    copy(10)
    copy(20)
    const full = openSync('/dev/full', 'w')
    const [out, err] = ['out', 'err'].map((name) => openSync(work.path(name), 'w'))
    const { env } = work
    const watch = (stdio: number[], state: string) =>
      spawnSync(
        process.execPath,
        [
          join(packageRoot, 'dist/bin/traitscope.js'),
          ...command('--once', '--jsonl', '--state', work.path(state)),
        ],
        {
          stdio: ['ignore', ...stdio],
          env: { ...process.env, ...env },
        },
      ).status
    expect(watch([full, err!], 'full')).toBe(1)
    expect(readFileSync(work.path('err'), 'utf8')).toMatch(/^cannot print \(ENOSPC\): .* the watch goes on/m)
    expect(watch([full, full], 'full, both')).toBe(1)
    expect(watch([out!, full], 'full, stderr alone')).toBe(0)
    expect(events(readFileSync(work.path('out'), 'utf8')).at(-1)).toMatchObject({ measured: 2 })
    for (const state of ['full', 'full, both']) {
      const [log] = readdirSync(work.path(state, 'watch'))
      const lines = readFileSync(work.path(state, 'watch', log!, 'events.jsonl'), 'utf8')
      expect(events(lines).at(-1)).toMatchObject({ type: 'end', reason: 'once', measured: 2 })
    }
  })

  it('should go on at SIGHUP, as under nohup, where nothing is shown in a terminal', async () => {
    copy(10)
    const start = onLine({
      '"checkpoint","step":10': (child) => {
        child.kill('SIGHUP')
        copy(20)
      },
      '"checkpoint","step":20': (child) => child.kill('SIGTERM'),
    })
    const { code, stdout, stderr } = await work.run(command('--jsonl'), { onStart: start })
    expect(code).toBe(130)
    expect(stderr).toMatch(
      /^SIGHUP: nothing of this is shown in a terminal, so it goes on; SIGTERM ends it$/m,
    )
    expect(events(stdout).at(-1)).toMatchObject({ type: 'end', reason: 'aborted', measured: 2 })
  })
})
