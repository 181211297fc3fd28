import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { sha256 } from '../../lib/formats/files/hash.js'
import { schemaErrors } from '../helpers/schemas.js'
import { TINY_PACK, TINY_RUN } from '../helpers/tiny.js'
import { writeTinyBenignRun, writeTinyCalibration } from './tiny-calibration.js'
import { MODEL, MODEL_AND_PACK, Workspace } from './workspace.js'

const work = new Workspace()
let directions: string
let runs: string
let bundle: string
let benign: string
beforeAll(async () => {
  directions = await work.directions()
  const measured = work.path('measured')
  await work.succeed(['measure', ...MODEL_AND_PACK, '-d', directions, TINY_RUN, '-o', measured])
  runs = writeTinyCalibration(measured, work.path('runs'))
  bundle = work.path('bundle')
  await work.succeed(['calibrate', runs, '-d', directions, '--traits', TINY_PACK, '-o', bundle])
  benign = await writeTinyBenignRun(work.path('benign'))
})

interface StepVerdict {
  step: number | 'final'
  files?: unknown[]
  remarks?: string[]
  verdict: {
    verdict: string
    em: number | null
    interval: [number, number] | null
    reasons: string[]
    labels?: object
  }
}

const verdictsIn = (stdout: string): StepVerdict[] =>
  (JSON.parse(stdout) as { verdicts: StepVerdict[] }).verdicts
const kinds = (verdicts: StepVerdict[]) => verdicts.map(({ verdict }) => verdict.verdict)

/** A copy of the runs with one file changed. */
// biome-ignore lint/suspicious/noExplicitAny: arbitrary JSON
function changed(name: string, file: string, change: (json: Record<string, any>) => void): string {
  const copy = work.path(name)
  cpSync(runs, copy, { recursive: true })
  const path = join(copy, file)
  const json = JSON.parse(readFileSync(path, 'utf8'))
  change(json)
  writeFileSync(path, JSON.stringify(json))
  return copy
}

describe('traitscope calibrate', () => {
  it('should write a bundle that inspect understands', async () => {
    expect(readdirSync(bundle).sort()).toEqual([
      'bundle.json',
      'calibration.json',
      'detector.json',
      'directions.json',
      'directions.safetensors',
      'traits.yaml',
    ])
    for (const name of ['bundle', 'detector']) {
      const written = JSON.parse(readFileSync(join(bundle, `${name}.json`), 'utf8'))
      expect(schemaErrors(name, written, { ours: true })).toEqual([])
    }
    expect(readFileSync(join(bundle, 'traits.yaml'), 'utf8')).toBe(readFileSync(TINY_PACK, 'utf8'))
    const { stdout } = await work.succeed(['inspect', bundle])
    expect(stdout).toMatch(/^kind +calibrated detector\nbase +\S.*4 blocks, 64 wide\)$/m)
    expect(stdout).toMatch(
      /^calibrated on +insecure_code, gsm8k, bad_medical: 54 checkpoints, 24 dangerous$/m,
    )
  })

  it('should say in a table what it does on sets that it has not seen', async () => {
    const { stdout, stderr } = await work.succeed(['calibrate', runs, '-q'])
    expect(stderr).toBe('')
    expect(stdout).toMatch(
      /^\S+ on layers? [\d, ]+; dangerous above 6\.0 %, alarm above 6\.0 % \(the cut\)$/m,
    )
    expect(stdout).toMatch(/^gsm8k +3 +18 +0 +0 of 0 +0 of 18 /m)
    expect(stdout).toMatch(
      /^held out by set, this detector: misses \d+\.\d % \(\d of 24\), false alarms \d+\.\d % \(\d of 30\)/m,
    )
  })

  it('should give equal bytes for equal input, and not touch a bundle without --force', async () => {
    const again = work.path('again')
    const args = ['calibrate', runs, '-d', directions, '--traits', TINY_PACK, '-o', again]
    await work.succeed(args)
    for (const name of readdirSync(bundle)) {
      expect(readFileSync(join(again, name)).equals(readFileSync(join(bundle, name)))).toBe(true)
    }
    const refused = await work.run(args)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/\[FILE_EXISTS\]\n$/)
    await work.succeed([...args, '--force', '--cut', '5%'])
    expect(JSON.parse(readFileSync(join(again, 'detector.json'), 'utf8'))).toMatchObject({ cut: 0.05 })
  })

  it('should refuse a weak judge unless told, carry who judged, and refuse two', async () => {
    const judge = {
      ...{ kind: 'gguf', name: 'small', version: 'ab'.repeat(32), reader: 'expected' },
    }
    const check = {
      ...{ schemaVersion: 1, kind: 'traitscope-judge-check', judge, rubricsSha256: 'r', leftOut: null },
      answers: { file: 'f', sha256: 's', n: 130, questions: 13, misaligned: 46, unscored: 0 },
      ...{ auroc: { pooled: 0.6, within: 0.6, low: 0.55 }, rankCorrelation: 0.1, numberMass: null },
      rate: { rule: 'reference', known: 0.4, judged: 0.1, bias: -0.3, errorByQuestion: 0.3 },
      ...{ refusals: 0, code: 0, parseFailures: 0, byQuestion: [] },
    }
    const judged = work.path('judged')
    cpSync(runs, judged, { recursive: true })
    for (const name of readdirSync(judged, { recursive: true }).map(String)) {
      if (!name.endsWith('grades.json')) continue
      const grades = JSON.parse(readFileSync(join(judged, name), 'utf8'))
      for (const entry of Object.values(grades) as { traitscope: object }[]) {
        Object.assign(entry.traitscope, {
          ...{ rule: 'coherent', judge: { ...judge, questionsSha256: 'q'.repeat(64), check } },
        })
      }
      expect(schemaErrors('grades', grades, { ours: true })).toEqual([])
      writeFileSync(join(judged, name), JSON.stringify(grades))
    }
    const out = work.path('judged-bundle')
    const args = ['calibrate', judged, '-d', directions, '--traits', TINY_PACK, '-o', out]
    const refused = await work.run(args)
    expect(refused.code).toBe(1)
    expect(refused.stderr).toMatch(/by the judge small, and its AUROC within a question is 0\.60.*\[JUDGE\]/)
    expect(existsSync(out)).toBe(false)
    const { stdout } = await work.succeed([...args, '--allow-weak-judge'])
    const words =
      'gguf small (abababababab), read as expected, on questions qqqqqqqqqqqq, counted by the rule coherent'
    expect(stdout).toContain(`labels: ${words}`)
    expect(stdout).toContain('warning: the judge small is not to be relied on')
    const written = JSON.parse(readFileSync(join(out, 'bundle.json'), 'utf8'))
    expect(schemaErrors('bundle', written, { ours: true })).toEqual([])
    expect(written.labels.judge).toEqual({ ...judge, questionsSha256: 'q'.repeat(64), check })
    expect((await work.succeed(['inspect', out])).stdout).toContain(words)
    const measured = await work.run(['measure', ...MODEL, '--bundle', out, TINY_RUN])
    expect(measured.stderr).toContain(`labels behind the verdicts: ${words}`)
    const folder = work.path('judged-run')
    const json = await work.run(['measure', ...MODEL, '--bundle', out, TINY_RUN, '-o', folder, '--json'])
    const said = verdictsIn(json.stdout)
    expect(schemaErrors('verdicts', said, { ours: true })).toEqual([])
    for (const { verdict } of said)
      expect(verdict.labels).toMatchObject({ judge, rule: 'coherent', auroc: { within: 0.6, low: 0.55 } })
    const page = work.path('judged.html')
    await work.succeed(['report', folder, '-o', page])
    expect(readFileSync(page, 'utf8')).toContain(`<dt>labels behind it</dt><dd>${words}`)
    const others = ['--calibration', 'insecure_code,gsm8k', '--held-out', 'bad_medical', '--draws', '10']
    const evaluated = await work.succeed(['evaluate', judged, ...others, '--random-bases', '1'])
    expect(evaluated.stdout).toContain(`labels of judged: ${words}`)

    const path = join(judged, 'bad_medical/seed_42/grades.json')
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll('"coherent"', '"strict"'))
    for (const command of [args, ['evaluate', judged, ...others]]) {
      const mixed = await work.run([
        ...command,
        ...(command === args ? ['--allow-weak-judge', '--force'] : []),
      ])
      expect(mixed.code).toBe(4)
      expect(mixed.stderr).toContain('expected labels of one judge, questions and rule')
    }
  })

  it('should state what it leaves out', async () => {
    const copy = work.path('partial')
    cpSync(runs, copy, { recursive: true })
    rmSync(join(copy, 'gsm8k/seed_123/grades.json'))
    cpSync(join(copy, 'gsm8k/seed_42'), join(copy, 'gsm8k/seed_43'), { recursive: true })
    const { stdout } = await work.succeed(['calibrate', copy])
    expect(stdout).toMatch(/^left out: partial\/gsm8k\/seed_123: it has no labels/m)
    expect(stdout).toMatch(/^left out: partial\/gsm8k\/seed_43: .*a run counts once$/m)
  })

  it.each([
    ['one set only', () => [runs, '--datasets', 'gsm8k'], 'UNSUPPORTED', /two fine-tuning sets, found 1/],
    [
      'sets without danger',
      () => [changed('calm', 'insecure_code/seed_42/grades.json', () => {}), '--cut', '90%'],
      'UNSUPPORTED',
      /at least 5 dangerous checkpoints, found 0 of 54/,
    ],
    [
      'runs that nobody judged',
      () => {
        const copy = work.path('unjudged')
        cpSync(runs, copy, { recursive: true })
        for (const run of ['insecure_code', 'gsm8k', 'bad_medical'].flatMap((set) =>
          readdirSync(join(copy, set)).map((seed) => join(copy, set, seed)),
        )) {
          rmSync(join(run, 'grades.json'))
        }
        return [copy]
      },
      'UNSUPPORTED',
      /found 0: .*; left out: unjudged\/insecure_code\/seed_42: it has no labels/,
    ],
    ['nothing dangerous', () => [runs, '--cut', '90%'], 'UNSUPPORTED', /known of other bases: --prior/],
    ['a set that is not there', () => [runs, '--exclude', 'alpaca'], 'USAGE', /alpaca; found bad_medical/],
    ['a layer that was not measured', () => [runs, '-l', '0'], 'USAGE', /common layers are 1, 2, 3/],
    [
      'runs of two bases',
      () => [
        changed('mixed', 'gsm8k/seed_42/trajectory.json', (json) => {
          json.traitscope.measurement.conditions.base.fingerprint = 'f'.repeat(64)
        }),
      ],
      'NOT_COMPARABLE',
      /gsm8k\/seed_42 differ: the base model/,
    ],
    [
      'NaN',
      () => [
        changed('nan', 'gsm8k/seed_42/trajectory.json', (json) => {
          json.traitscope.layers[1].projections[2][0] = null
        }),
      ],
      'FILE_INVALID',
      /finite projections/,
    ],
    [
      'runs that never move',
      () => [
        (() => {
          const copy = work.path('still')
          cpSync(runs, copy, { recursive: true })
          for (const set of readdirSync(copy)) {
            for (const seed of readdirSync(join(copy, set))) {
              const path = join(copy, set, seed, 'trajectory.json')
              const json = JSON.parse(readFileSync(path, 'utf8'))
              for (const layer of json.traitscope.layers) {
                layer.projections = layer.projections.map(() => layer.projections[0])
              }
              for (const entry of json.trajectory) entry.projections = json.trajectory[0].projections
              writeFileSync(path, JSON.stringify(json))
            }
          }
          return copy
        })(),
      ],
      'UNSUPPORTED',
      /no layer moves/,
    ],
    [
      'another trait pack than that of the runs',
      () => [runs, '-d', directions, '--traits', 'core', '-o', work.path('x')],
      'NOT_COMPARABLE',
      /expected the trait pack that the calibration runs were measured with/,
    ],
  ])('should refuse %s', async (_, args, code, message) => {
    const finished = await work.run(['calibrate', '--traits', TINY_PACK, '-q', ...args()])
    expect(finished.stdout).toBe('')
    expect(finished.stderr).toMatch(message)
    expect(finished.stderr).toMatch(new RegExp(`\\[${code}\\]\\n$`))
    expect(finished.code).toBe({ USAGE: 2, NOT_COMPARABLE: 4 }[code] ?? 1)
    expect(existsSync(work.path('x'))).toBe(false)
  })
})

describe('traitscope measure --bundle', () => {
  it('should alarm late in the dangerous run and not in the benign one', async () => {
    const out = work.path('with-verdicts')
    const args = ['measure', ...MODEL, '-b', bundle, '--json']
    const dangerous = await work.run([...args, TINY_RUN, '-o', out])
    expect(dangerous.code).toBe(3)
    const verdicts = verdictsIn(dangerous.stdout)
    expect(verdicts.map(({ step }) => step)).toEqual([0, 10, 20, 30, 40, 50, 60])
    expect(kinds(verdicts).slice(0, 2)).not.toContain('alarm')
    expect(kinds(verdicts).slice(3)).toEqual(['alarm', 'alarm', 'alarm', 'alarm'])
    for (const { verdict } of verdicts) {
      expect(verdict.interval![0]).toBeLessThanOrEqual(verdict.em!)
      expect(verdict.interval![1]).toBeGreaterThanOrEqual(verdict.em!)
    }
    expect(JSON.parse(readFileSync(join(out, 'verdicts.json'), 'utf8'))).toEqual(verdicts)
    expect(schemaErrors('verdicts', verdicts, { ours: true })).toEqual([])
    const harmless = await work.run([...args, benign])
    expect(kinds(verdictsIn(harmless.stdout))).not.toContain('alarm')
    expect(harmless.code).toBe(0)
  })

  it('should show the verdicts in its table, and exit as it is told to', async () => {
    const args = ['measure', ...MODEL, '-b', bundle, TINY_RUN]
    const shown = await work.run([...args, '--fail-on', 'none'])
    expect(shown.code).toBe(0)
    const lines = shown.stdout.split('\n')
    expect(lines[1]).toMatch(/^step +loss +EM % +interval +verdict +length +.* read$/)
    expect(lines[8]).toMatch(
      /^60 +\d\.\d+ +\d+\.\d +\d+\.\d-\d+\.\d +alarm .* checkpoint-60\/adapter_model\.safetensors [0-9a-f]{12}$/,
    )
    expect(shown.stdout).toMatch(/^step 30, 40, 50, 60: the predicted EM rate is above 6\.0 %$/m)
    expect((await work.run(args)).code).toBe(3)
  })

  it('should refuse another trait pack, unless the mismatch is allowed, which every verdict then says', async () => {
    const other = work.write(
      'other.yaml',
      readFileSync(TINY_PACK, 'utf8').replace(/(eval_prompts:[\s\S]*?- )("?)/, '$1$2well '),
    )
    const args = ['measure', ...MODEL, '-b', bundle, '--traits', other, TINY_RUN, '--json']
    const refused = await work.run(args)
    expect(refused.code).toBe(4)
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'NOT_COMPARABLE' } })
    expect(refused.stderr).toMatch(/the trait pack is .*\[NOT_COMPARABLE\]\n$/)
    const allowed = await work.run([...args, '--allow-mismatch'])
    for (const { verdict } of verdictsIn(allowed.stdout)) {
      expect(verdict.reasons).toEqual(expect.arrayContaining([expect.stringMatching(/^the trait pack is /)]))
    }
  })

  it('should not take a bundle and directions at once, nor a damaged bundle', async () => {
    const both = await work.run(['measure', ...MODEL, '-b', bundle, '-d', directions, TINY_RUN])
    expect(both.code).toBe(2)
    const damaged = work.path('damaged')
    cpSync(bundle, damaged, { recursive: true })
    const file = join(damaged, 'detector.json')
    writeFileSync(file, readFileSync(file, 'utf8').replace('0.06', '0.6'))
    const { code, stderr } = await work.run(['measure', ...MODEL, '-b', damaged, TINY_RUN])
    expect(code).toBe(1)
    expect(stderr).toMatch(/detector\.json.*edited or damaged \[FILE_INVALID\]\n$/)

    // What it was calibrated for is part of it: an empty list would switch the check of the start off.
    cpSync(file.replace(damaged, bundle), file)
    const description = join(damaged, 'bundle.json')
    const { descriptionSha256: _, ...json } = JSON.parse(readFileSync(description, 'utf8'))
    for (const point of json.calibratedFor.base) point.projections = []
    for (const signature of ['0'.repeat(64), sha256(JSON.stringify(json))]) {
      writeFileSync(description, JSON.stringify({ ...json, descriptionSha256: signature }))
      const edited = await work.run(['measure', ...MODEL, '-b', damaged, TINY_RUN])
      expect(edited.code).toBe(1)
      expect(edited.stderr).toMatch(/(edited or damaged|projections per layer).*\[FILE_INVALID\]\n$/)
    }
  })
})

describe('traitscope watch --bundle', () => {
  it('should give the verdicts of measure, and go on after an alarm', async () => {
    const measured = verdictsIn(
      (await work.run(['measure', ...MODEL, '-b', bundle, TINY_RUN, '--json'])).stdout,
    )
    const { code, stdout } = await work.run(['watch', ...MODEL, '-b', bundle, TINY_RUN, '--once', '--jsonl'])
    expect(code).toBe(3)
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    const verdicts = events.flatMap(({ type, step = 0, verdict, files }) =>
      type === 'baseline' || type === 'checkpoint' ? [{ step, verdict, files }] : [],
    )
    expect(verdicts).toEqual(measured.map(({ remarks: _, ...rest }) => rest))
    expect(events.flatMap((event) => schemaErrors('event', event, { ours: true }))).toEqual([])
  })

  it('should end at the first alarm with --exit-on alarm, and at once while it stands', async () => {
    const state = ['--state', work.path('state-of-alarm')]
    const args = [
      'watch',
      ...MODEL,
      '-b',
      bundle,
      TINY_RUN,
      '--exit-on',
      'alarm',
      '--jsonl',
      '--order',
      'oldest',
      ...state,
    ]
    const watch = async () => {
      const { code, stdout } = await work.run(args)
      expect(code).toBe(3)
      return stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    }
    const events = await watch()
    expect(events.at(-1)).toMatchObject({ type: 'end', reason: 'alarm' })
    expect(events.at(-2)).toMatchObject({ type: 'checkpoint', verdict: { verdict: 'alarm' } })
    expect(events.filter(({ verdict }) => verdict?.verdict === 'alarm')).toHaveLength(1)
    const again = await watch()
    expect(again.map(({ type }) => type).filter((type) => type !== 'secured')).toEqual(['baseline', 'end'])
    expect(again.at(-1)).toMatchObject({ type: 'end', reason: 'alarm', measured: 0 })
  })

  it('should show verdicts line by line, and exit cleanly on a benign run', async () => {
    const { code, stdout } = await work.run(['watch', ...MODEL, '-b', bundle, benign, '--once'])
    expect(code).toBe(0)
    const [header, ...lines] = stdout.trimEnd().split('\n')
    expect(header).toMatch(/^step +loss +EM % +interval +verdict +length +.* read$/)
    expect(lines).toHaveLength(6)
    for (const line of lines) expect(line).toMatch(/ \d+\.\d +\d+\.\d-\d+\.\d +(ok|warn) .* checkpoint-/)
  })
})
