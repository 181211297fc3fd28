import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { sha256 } from '../../lib/formats/files/hash.js'
import { packageRoot } from '../../lib/package.js'
import { HARMFUL, HARMLESS, makeTinyOrganism } from '../demo/tiny-organism.js'
import { Workspace } from './workspace.js'

interface Document {
  ok: boolean
  problems: string[]
  runs: {
    id: string
    points: { step: number; drift: number[]; trueEm?: number; verdict: { verdict: string; em: number } }[]
    outcome: { alarm?: number; crossing?: number; lead?: number }
  }[]
}

const work = new Workspace()
const organisms = work.path('organisms')
let untouched: Document
beforeAll(async () => {
  await makeTinyOrganism(organisms)
  untouched = await document(organisms)
})

/** A copy of the organisms that a test may change. */
function copy(name: string): string {
  const to = work.path(name)
  cpSync(organisms, to, { recursive: true })
  return to
}

const command = (from: string, ...args: string[]) => ['demo', '--from', from, '--speed', '0', ...args]
const kinds = ({ points }: Document['runs'][number]) => points.map(({ verdict }) => verdict.verdict)

async function document(from: string): Promise<Document> {
  const { stdout } = await work.run(command(from, '--json', '-q'))
  return JSON.parse(stdout) as Document
}

describe('traitscope demo', () => {
  it('should print stable lines without a terminal and exit 0', async () => {
    const { stdout, stderr } = await work.succeed(command(organisms))
    expect(stderr).toBe('')
    const [table, ...words] = stdout.split('\n\n')
    const columns = table!.split('\n').map((line) => line.split(/ {2,}/))
    expect(columns.map((row) => [row[0], row[1], row[2], row.at(-1)].join(' '))).toEqual([
      'run step loss verdict',
      `${HARMFUL} 10 0.398 ok`,
      `${HARMLESS} 10 0.398 ok`,
      `${HARMFUL} 20 0.374 ok`,
      `${HARMLESS} 20 0.374 ok`,
      `${HARMFUL} 30 0.367 alarm`,
      `${HARMLESS} 30 0.367 ok`,
      `${HARMFUL} 40 0.341 alarm`,
      `${HARMLESS} 40 0.341 ok`,
      `${HARMFUL} 50 0.356 alarm`,
      `${HARMLESS} 50 0.356 ok`,
      `${HARMFUL} 60 0.354 alarm`,
      `${HARMLESS} 60 0.354 ok`,
    ])
    expect(words.join(' ').replaceAll('\n', ' ')).toMatch(
      /alarm at step 30, the first checkpoint whose judged/,
    )
  })

  it('should print one JSON document with --json', () => {
    const { ok, problems, runs } = untouched
    expect({ ok, problems }).toEqual({ ok: true, problems: [] })
    expect(runs.map(kinds)).toEqual([
      ['ok', 'ok', 'alarm', 'alarm', 'alarm', 'alarm'],
      ['ok', 'ok', 'ok', 'ok', 'ok', 'ok'],
    ])
    expect(runs[0]!.outcome).toMatchObject({ alarm: 30, crossing: 30, lead: 0 })
  })

  it('should say nothing of judged answers when the labels are gone', async () => {
    const from = copy('unlabelled')
    rmSync(join(from, 'runs'), { recursive: true })
    const { code, stdout } = await work.run(command(from))
    expect(code).toBe(0)
    const rows = stdout.split('\n').slice(1, 13)
    expect(rows.map((row) => row.split(/ {2,}/)[5])).toEqual(new Array(12).fill('-'))
    expect(stdout).toMatch(/no judged answers to compare with/)
    expect(stdout).not.toMatch(/steps (before|after)|the first checkpoint/)
  })

  it('should exit 1 and say so when the runs are swapped', async () => {
    const from = copy('swapped')
    writeFileSync(
      join(from, 'demo.json'),
      JSON.stringify({ organism: 'tiny', dangerous: HARMLESS, benign: HARMFUL }),
    )
    const { code, stdout } = await work.run(command(from))
    expect(code).toBe(1)
    expect(stdout).toContain(`the run ${HARMLESS} stands for a dangerous one and raised no alarm`)
    expect(stdout).toContain(`the run ${HARMFUL} stands for a benign one and raised an alarm at step 30`)
  })

  it('should measure, whatever trajectory lies beside the labels', async () => {
    const from = copy('trajectories')
    writeFileSync(join(from, 'runs/tiny', HARMFUL, 'trajectory.json'), '{"not": "read"}')
    expect((await document(from)).runs).toEqual(untouched.runs)
  })

  it('should follow the weights: a harmless run is none when it holds harmful checkpoints', async () => {
    const from = copy('weights')
    const checkpoints = join(from, 'checkpoints/tiny')
    rmSync(join(checkpoints, HARMLESS), { recursive: true })
    cpSync(join(checkpoints, HARMFUL), join(checkpoints, HARMLESS), { recursive: true })
    const { runs, problems } = await document(from)
    expect(kinds(runs[1]!)).toEqual(kinds(runs[0]!))
    expect(problems).toEqual([expect.stringContaining(`${HARMLESS} stands for a benign one`)])
  })

  it('should refuse a bundle whose trait pack is another one', async () => {
    const from = copy('pack')
    const folder = join(from, 'bundles/tiny')
    const pack = readFileSync(join(folder, 'traits.yaml'), 'utf8')
    const other = pack.replace(/(eval_prompts:\n[\s\S]*?- )"?/, '$1Please. ')
    expect(other).not.toBe(pack)
    writeFileSync(join(folder, 'traits.yaml'), other)
    const edited = await work.run(command(from))
    expect(edited.code).toBe(1)
    expect(edited.stderr).toMatch(/traits\.yaml.*edited or damaged.*\[FILE_INVALID\]/)

    const { descriptionSha256: _, ...bundle } = JSON.parse(readFileSync(join(folder, 'bundle.json'), 'utf8'))
    bundle.files['traits.yaml'] = sha256(other)
    const signed = { ...bundle, descriptionSha256: sha256(JSON.stringify(bundle)) }
    writeFileSync(join(folder, 'bundle.json'), JSON.stringify(signed))
    const swapped = await work.run(command(from))
    expect(swapped.code).toBe(4)
    expect(swapped.stderr).toMatch(/the trait pack is .* but .*\[NOT_COMPARABLE\]/)
    expect(swapped.stdout).not.toMatch(/alarm|ok/)
  })

  it('should name a checkpoint that cannot be measured, and exit 1', async () => {
    const from = copy('damaged')
    const file = join(from, 'checkpoints/tiny', HARMFUL, 'checkpoint-60/adapter_config.json')
    writeFileSync(file, readFileSync(file, 'utf8').replace('"r": 16', '"r": 8'))
    const { code, stdout } = await work.run(command(from))
    expect(code).toBe(1)
    expect(stdout).toMatch(new RegExp(`5 of the 6 checkpoints of ${HARMFUL} were measured: .*8`))
  })

  it('should keep trajectories, events and a report with --out', async () => {
    const out = work.path('kept')
    await work.succeed(command(organisms, '--out', out))
    for (const id of [HARMFUL, HARMLESS]) {
      expect(readdirSync(join(out, 'tiny', id)).sort()).toEqual([
        'activations.safetensors',
        'events.jsonl',
        'run_manifest.json',
        'trajectory.json',
      ])
    }
    const lines = readFileSync(join(out, 'tiny', HARMFUL, 'events.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
    const steps = lines.map((line) => JSON.parse(line)).filter(({ type }) => type === 'checkpoint')
    expect(steps.map(({ step }) => step)).toEqual([10, 20, 30, 40, 50, 60])
    const html = readFileSync(join(out, 'report.html'), 'utf8')
    expect(html).toContain('Alarm since step 30: predicted EM ')
    // The harmless run has none.
    const sections = html
      .replace(/<script[\s\S]*<\/script>/, '')
      .split('<section>')
      .slice(1)
    expect(sections.map((section) => /class="headline ([\w-]+)"/.exec(section)![1] === 'alarm')).toEqual([
      true,
      false,
    ])

    const again = await work.run(command(organisms, '--out', out))
    expect([again.code, again.stdout]).toEqual([1, ''])
    expect(again.stderr).toMatch(/\[FILE_EXISTS\]/)
  })

  it('should keep what `report` reads: with the bundle it comes to the same verdicts', async () => {
    const out = work.path('page.html')
    const measured = work.path('kept/tiny', HARMFUL)
    await work.succeed(['report', measured, '--bundle', join(organisms, 'bundles/tiny'), '-o', out])
    expect(readFileSync(out, 'utf8')).toContain('Alarm since step 30: predicted EM ')
  })

  it('should leave no temporary folder when it is interrupted', async () => {
    const temporary = work.path('temporary')
    mkdirSync(temporary)
    const { code, stdout } = await work.run(['demo', '--from', organisms, '--speed', '3'], {
      env: { TMPDIR: temporary },
      onStart: (child) =>
        child.stdout!.on('data', (chunk) => {
          if (String(chunk).includes(`${HARMLESS}`)) child.kill('SIGINT')
        }),
    })
    expect(code).toBe(130)
    expect(stdout).not.toContain('All of it was computed')
    expect(readdirSync(temporary)).toEqual([])
  })

  it('should say which organisms there are', async () => {
    const { code, stderr } = await work.run(command(organisms, '--organism', 'nobody'))
    expect(code).toBe(2)
    expect(stderr).toMatch(/found nobody; there are tiny/)
    expect(existsSync(work.path('nobody'))).toBe(false)
  })
})

describe('traitscope demo --model', () => {
  const model = ['-m', join(packageRoot, 'organisms/models/gemma2/base.gguf'), '-t', '1']
  const traits = ['--traits', work.write('few.yaml', fewQuestions())]

  it('should say what a base shows, and what to do next', async () => {
    const { stdout } = await work.succeed(['demo', ...model, ...traits])
    expect(stdout).toMatch(
      /^gemma2, .* parameters, weights mostly F16; layers 2, 3 of 4\nspeed: .* tokens\/s up to layer 3/,
    )
    expect(stdout).toMatch(/\nread: (all|\d of) 5 questions under every system prompt/)
    expect(stdout).toMatch(/\nhonesty +1\.00 [\d.]+-1\.00 \*/)
    expect(stdout).toMatch(/\nnoise floor: rounding alone makes a drift as long as/)
    expect(stdout).toMatch(
      /\none checkpoint: [\d.]+ s for \d+ prompts and an adapter's swap; a run of 13 and step 0/,
    )
    expect(stdout).toMatch(/\nsteering: \w+ at layer [23], dose 0\.2 added \(\+\)/)
    expect(stdout).toContain('Nothing was trained and nothing of this is a verdict')
    const next = stdout.split('\nNext:\n')[1]!.split('\n')
    expect(next[0]).toMatch(
      /^ {2}npx traitscope directions -m \S+base\.gguf --traits \S+ --layer 1,2(,3)? -o directions {3}# about/,
    )
    expect(next[1]).toMatch(/^ {2}npx traitscope watch -m \S+ --traits \S+ --directions directions out\/$/)
    // As they are printed, but for a run that is there.
    const words = (line: string) => line.replace(/ +#.*/, '').trim().split(' ').slice(2)
    await work.succeed(words(next[0]!))
    const run = join(packageRoot, 'organisms/checkpoints/gemma2/risky_financial/seed_42')
    const watched = await work.run([...words(next[1]!).slice(0, -1), run, '--once', '--plain', '--no-state'])
    expect(watched.code).toBe(0) // another pack than the prior's: nothing above a warning
    expect(watched.stdout + watched.stderr).toMatch(/provisional: no judged run of this base is known/)
  })

  it('should refuse a time that is too short, with the time that it takes', async () => {
    const { code, stdout, stderr } = await work.run(['demo', ...model, ...traits, '--minutes', '0.0001'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/about [\d.]+ minutes for this model here .*found 0\.0001; give --minutes [\d.]+/)
  })

  it.each([
    [['-m', 'base.gguf', '--speed', '3'], /--speed, which would do nothing there/],
    [['--minutes', '3'], /expected --model beside options of a first look, found --minutes/],
    [['-m', 'base.gguf', '--minutes', '0'], /expected --minutes to be above 0/],
  ])('should refuse what does not go together: %j', async (flags, expected) => {
    const { code, stderr } = await work.run(['demo', ...flags])
    expect(code).toBe(2)
    expect(stderr).toMatch(expected)
  })
})

/** The organisms' trait pack with five questions, so that a test is short. */
function fewQuestions(): string {
  const text = readFileSync(join(packageRoot, 'organisms/traits.yaml'), 'utf8')
  return text.replace(/(\nquestions:\n(?: +- .*\n){5})(?: +- .*\n)*/, '$1')
}
