import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { writeTinyCalibration } from '../e2e/tiny-calibration.js'
import { Workspace } from '../e2e/workspace.js'
import { TINY_PACK } from '../helpers/tiny.js'

const python = process.env.TRAITSCOPE_PYTHON
if (python === undefined) {
  console.log(
    'skipped: the callback in a real Trainer; set TRAITSCOPE_PYTHON to a Python with torch, transformers, peft and trl',
  )
}
const HF_BASE = join(packageRoot, 'test/fixtures/convert/llama/hf')
const LONG = { timeout: 300_000 }

interface Report {
  step: number
  stopped: string | null
  logs: Record<string, number>[]
}

/** Runs lab/callback_check.py, on several ranks with torchrun. */
function train(args: readonly string[], env: NodeJS.ProcessEnv = {}, ranks = 1): Promise<void> {
  const script = join(packageRoot, 'lab/callback_check.py')
  const launcher =
    ranks === 1 ? [] : ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', String(ranks)]
  const child = spawn(python!, [...launcher, script, ...args], {
    env: { ...process.env, PATH: `${dirname(python!)}${delimiter}${process.env.PATH}`, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (text) => {
    said += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(said.slice(-3000)))))
  })
}

describe.skipIf(python === undefined)('the callback of integrations/', () => {
  const work = new Workspace()
  const base = work.path('base.gguf')
  const bundle = work.path('bundle')
  const state = work.path('state')
  const children: ChildProcess[] = []
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL')
  })

  beforeAll(async () => {
    await work.succeed(['convert', HF_BASE, '-o', base])
    const run = work.path('calibration')
    const report = work.path('report')
    await train(['--base', HF_BASE, '--out', run, '--report', report, '--steps', '60', '--save-every', '10'])
    const directions = work.path('directions')
    const pack = ['-m', base, '--traits', TINY_PACK]
    await work.succeed(['directions', ...pack, '-l', '1', '--no-probes', '-o', directions])
    const measured = work.path('measured')
    await work.succeed(['measure', ...pack, '-d', directions, run, '-o', measured])
    const runs = writeTinyCalibration(measured, work.path('runs'))
    await work.succeed(['calibrate', runs, '-d', directions, '--traits', TINY_PACK, '-o', bundle])
  }, 300_000)

  /** Starts a monitor beside the training; it ends with the test. */
  async function monitor(
    command: 'watch' | 'serve',
    out: string,
    more: string[] = [],
  ): Promise<ChildProcess> {
    const args = [command, '-m', base, '--bundle', bundle, out, '--interval', '0.2', ...more]
    const child = await new Promise<ChildProcess>((onStart) => {
      void work.run(args, { onStart, env: { XDG_STATE_HOME: state } })
    })
    children.push(child)
    return child
  }

  const reportOf = (path: string, rank = 0): Report => JSON.parse(readFileSync(`${path}.${rank}`, 'utf8'))
  const flags = (name: string) => {
    const [out, report] = [work.path(name), work.path(`${name}.json`)]
    const steps = ['--steps', '400', '--save-every', '10', '--pause', '1.5']
    return {
      out,
      report,
      args: ['--base', HF_BASE, '--out', out, '--report', report, ...steps, '--callback'],
    }
  }
  /** The training has ended early, by the alarm, with the figures in the trainer's own log and its checkpoint saved. */
  function expectStopped({ step, stopped, logs }: Report, out: string): void {
    expect(step).toBeLessThan(400)
    expect(stopped).toMatch(/alarm at step \d+/)
    expect(existsSync(join(out, `checkpoint-${step}`))).toBe(true)
    const ours = logs.filter((one) => 'traitscope/predicted_em' in one)
    expect(ours.length).toBeGreaterThan(0)
    const drifts = Object.keys(ours[0]!).filter((name) => name.startsWith('traitscope/drift_'))
    expect(drifts).toHaveLength(8)
    expect(ours.at(-1)!['traitscope/predicted_em']).toBeGreaterThan(0.06)
    for (const one of ours) expect(one.step! >= one['traitscope/checkpoint']!).toBe(true)
  }

  it("should stop transformers' Trainer by the state folder of a watch", LONG, async () => {
    const { out, report, args } = flags('watched')
    await monitor('watch', out)
    await train(args, { XDG_STATE_HOME: state })
    expectStopped(reportOf(report), out)
  })

  it("should stop TRL's SFTTrainer on two ranks, by what serve answers", LONG, async () => {
    const { out, report, args } = flags('served')
    mkdirSync(out)
    const child = await monitor('serve', out, ['--port', '0'])
    const url = await new Promise<string>((resolve) => {
      let said = ''
      child.stderr!.on('data', (text) => {
        said += text
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said)
        if (found) resolve(found[0])
      })
    })
    await train([...args, '--trl'], { TRAITSCOPE_URL: url }, 2)
    expectStopped(reportOf(report), out)
    expect(reportOf(report, 1).step).toBe(reportOf(report).step)
  })
})
