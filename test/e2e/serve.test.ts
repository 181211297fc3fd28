import type { ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { TINY_PACK, TINY_RUN } from '../helpers/tiny.js'
import { writeTinyCalibration } from './tiny-calibration.js'
import { MODEL, MODEL_AND_PACK, Workspace } from './workspace.js'

const work = new Workspace()
let bundle: string
beforeAll(async () => {
  const directions = await work.directions()
  const measured = work.path('measured')
  await work.succeed(['measure', ...MODEL_AND_PACK, '-d', directions, TINY_RUN, '-o', measured])
  const runs = writeTinyCalibration(measured, work.path('runs'))
  bundle = work.path('bundle')
  await work.succeed(['calibrate', runs, '-d', directions, '--traits', TINY_PACK, '-o', bundle])
})

const copy = (run: string, step: number) =>
  cpSync(join(TINY_RUN, `checkpoint-${step}`), join(run, `checkpoint-${step}`), { recursive: true })

/** Starts `serve`, waits for its address, and gives a way to end it. */
async function serving(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  let child!: ChildProcess
  const finished = work.run(['serve', '--port', '0', '--state', work.path('state'), ...args], {
    env,
    onStart: (started) => {
      child = started
    },
  })
  const url = await new Promise<string>((resolve, reject) => {
    let said = ''
    child.stderr!.on('data', (text) => {
      said += text
      const found = /serving (http:\S+)/.exec(said)
      if (found) resolve(found[1]!)
    })
    child.on('close', () => reject(new Error(said)))
  })
  const end = () => {
    child.kill('SIGINT')
    return finished
  }
  return { url, end }
}

interface Answer {
  status: string
}

async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await ask()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const onSave = (url: string, run: string, step: number, headers: Record<string, string> = {}) =>
  fetch(`${url}/checkpoint`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ event: 'on_save', step, checkpoint_dir: null, output_dir: run }),
  })

describe('traitscope serve', () => {
  it('should watch, tell a trainer to stop, and show a page', async () => {
    const run = work.path('out')
    mkdirSync(run)
    const { url, end } = await serving([...MODEL, '--bundle', bundle, run, '--interval', '0.05'])
    copy(run, 10)
    const first = await until(async () => {
      const answer = (await (await onSave(url, run, 10)).json()) as Answer
      return answer.status === 'done' ? answer : undefined
    })
    expect(first).toMatchObject({ stop: false, scalars: { predicted_em: expect.any(Number) } })
    copy(run, 60)
    const last = await until(async () => {
      const answer = (await (await onSave(url, run, 60)).json()) as Answer
      return answer.status === 'done' ? answer : undefined
    })
    expect(last).toMatchObject({ stop: true, reason: expect.stringMatching(/alarm at step 60/) })
    const page = await fetch(url)
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(await page.text()).toContain('<!doctype html>')
    const { code, stdout } = await end()
    expect(code).toBe(3)
    expect(stdout).toMatch(/^60 .* alarm /m)
  })

  it('should serve what other watches have told, to those who have the token', async () => {
    const token = 's3cret'
    const { url, end } = await serving([], { TRAITSCOPE_TOKEN: token })
    const headers = { authorization: `Bearer ${token}` }
    expect((await fetch(`${url}/runs`)).status).toBe(401)
    const { runs } = await until(async () => {
      const found = (await (await fetch(`${url}/runs`, { headers })).json()) as {
        runs: { measured: number }[]
      }
      // A long log is read in parts.
      return found.runs[0]?.measured === 2 ? found : undefined
    })
    expect(runs).toMatchObject([
      { run: realpathSync(work.path('out')), measured: 2, alarm: true, isWatched: false },
    ])
    expect((await onSave(url, work.path('out'), 60, headers)).status).toBe(200)
    const { code, stderr } = await end()
    expect(code).toBe(130)
    expect(stderr).not.toContain(token)
  })

  it.each<[string[], RegExp]>([
    [['--no-state'], /--no-state/],
    [[...MODEL], /run folders and a model/],
    [['out'], /run folders and a model/],
    [['--interval', '1', '--on-alarm', 'true'], /--interval, --on-alarm, which would do nothing/],
    [['--host', '0.0.0.0'], /TRAITSCOPE_TOKEN/],
  ])('should refuse %j', async (args, message) => {
    const { code, stderr } = await work.run(['serve', ...args])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) })
  })
})

describe('traitscope watch', () => {
  it('should tell people of an alarm, once, and leave a stop file for the trainer', async () => {
    const run = work.path('told')
    for (const step of [10, 60]) copy(run, step)
    const write = (name: string) =>
      `${process.execPath} -e 'require("fs").appendFileSync(${JSON.stringify(name)}, require("fs").readFileSync(0))'`
    const [out, stop] = [work.path('alarms.jsonl'), work.path('please', 'stop')]
    const args = ['watch', ...MODEL, '--bundle', bundle, run, '--once', '--state', work.path('state2')]
    const flags = ['--on-alarm', write(out), '--stop-file', stop]
    const { code, stderr } = await work.run([...args, ...flags])
    expect(code).toBe(3)
    const lines = readFileSync(out, 'utf8').trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { kind: 'alarm', step: 60, verdict: 'alarm' },
    ])
    expect(JSON.parse(readFileSync(stop, 'utf8'))).toMatchObject({ kind: 'alarm' })
    expect(stderr).toMatch(/^told command node: told: alarm at step 60/m)
    const again = await work.run([...args, ...flags])
    expect(again.code).toBe(3)
    expect(readFileSync(out, 'utf8').trimEnd().split('\n')).toHaveLength(1)
  })

  it('should say what could not be told, without secrets, before anything is watched where that is known', async () => {
    const run = work.path('told')
    const args = ['watch', ...MODEL, '--bundle', bundle, run, '--once', '--state', work.path('state3')]
    const none = await work.run([...args, '--webhook', 'env:NO_SUCH_NAME'])
    expect(none).toMatchObject({ code: 2, stderr: expect.stringMatching(/NO_SUCH_NAME/) })
    const absent = await work.run([...args, '--on-alarm', '/no/such/program x'])
    expect(absent).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/none called \/no\/such\/program/),
    })
    const unwritable = await work.run([
      ...args,
      '--stop-file',
      join(run, 'checkpoint-10/adapter_config.json/x'),
    ])
    expect(unwritable).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/adapter_config\.json, found a file/),
    })
    expect(unwritable.stderr).not.toContain('step 0')
    const hook = { HOOK: 'http://127.0.0.1:9/s3cret' }
    const refused = await work.run([...args, '--webhook', 'env:HOOK'], { env: hook })
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(
      /^not told webhook at 127\.0\.0\.1:9 \(generic\) after \d tries, the connection failed/m,
    )
    expect(refused.stderr).not.toContain('s3cret')
    expect(existsSync(work.path('s3cret'))).toBe(false)
  })
})
