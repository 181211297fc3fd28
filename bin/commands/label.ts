import { join } from 'node:path'
import { Command, Option } from 'commander'
import { TraitscopeError } from '../../lib/errors.js'
import { scanRunFolder } from '../../lib/formats/run/run-folder.js'
import { type CountingRule, type Counts, RULE_NAMES } from '../../lib/labels/answers/counting-rule.js'
import { readQuestions } from '../../lib/labels/answers/questions.js'
import { chooseSteps } from '../../lib/labels/chosen-checkpoints.js'
import { EndpointJudge } from '../../lib/labels/judges/endpoint-judge.js'
import { readJudgeCheck } from '../../lib/labels/judges/judge-check.js'
import { type LabelCost, labelCost } from '../../lib/labels/label-cost.js'
import type { LabelledStep } from '../../lib/labels/label-options.js'
import { labelRun } from '../../lib/labels/label-run.js'
import { amplifyingStrengths } from '../../lib/model/checkpoint/strengths.js'
import { packageRoot } from '../../lib/package.js'
import { percent } from '../../lib/percent.js'
import { checkFromFlags } from '../check-judge.js'
import {
  adapterNameOption,
  addCacheOptions,
  type CheckpointFlags,
  cacheFromFlags,
  checkpointFromFlags,
  loraModeOption,
  residualBaseOption,
  strengthsOption,
} from '../checkpoints.js'
import { fitFromFlags } from '../fit-judge.js'
import { notes } from '../help.js'
import {
  addJudgeOptions,
  describeUse,
  type JudgeFlags,
  judgeFromFlags,
  pricesFromFlags,
  requireOneJudge,
} from '../judge.js'
import { marginFromFlags } from '../margin.js'
import { addModelOptions, type ModelFlags, openFromFlags, templateFromFlags } from '../model.js'
import {
  addOutputOptions,
  integer,
  integerList,
  names,
  number,
  option,
  refuseIdle,
  repeated,
} from '../options.js'
import { createOutput, type Output, table } from '../output.js'

interface Flags extends Omit<ModelFlags, 'model'>, JudgeFlags, CheckpointFlags {
  model?: string
  out?: string
  checkJudge?: string | true
  judgeCheck?: string
  fitJudge?: string
  margin?: string
  judgeLayers?: number[]
  domain?: string
  excludeDomain?: string[]
  questions?: string[]
  draws: number
  temperature: number
  topP: number
  maxTokens: number
  seed: number
  steps?: number[]
  every?: number
  rule: CountingRule
  maxFailures: number
  adapterScale?: number[]
  dryRun?: boolean
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** Options of questions, answers and judges. */
const ASKS = /^(judge|price|max|questions$|draws$|temperature$|topP$|seed$|rule$)/
/** What a check of a judge takes, and the fitting of one. */
const CHECKS =
  /^(checkJudge|judge(?!Check|Layers)|price|maxCost$|questions$|out$|force$|threads$|json$|quiet$)/
const FITS_ALONE = /^(judgeLayers|excludeDomain)$/
const FITS = /^(fitJudge|judge(Gguf|Layers)$|domain$|excludeDomain$|out$|force$|threads$|json$|quiet$)/

/** `traitscope label`: questions, answers, a judge, and what `calibrate` learns from. */
export function labelCommand(signal: AbortSignal): Command {
  const command = new Command('label')
    .description('ask a run’s checkpoints behaviour questions and have the answers judged')
    .argument('[run]', "the trainer's output folder")
    .option('-o, --out <path>', 'folder for the labels: the one of measure -o')
    .optionsGroup('Questions and answers:')
    .option('--questions <file>', '.yaml or .jsonl, repeatable (default: 72 of our own)', repeated)
    .addOption(option('--draws <n>', 'answers per question').argParser(integer).default(1))
    .addOption(option('--temperature <x>', 'of the answers').argParser(number).default(1))
    .addOption(option('--top-p <x>', 'of the answers').argParser(number).default(1))
    .addOption(option('-n, --max-tokens <n>', 'tokens per answer at most').argParser(integer).default(600))
    .addOption(option('--seed <n>', 'decides every answer').argParser(integer).default(0))
    .addOption(
      new Option('--rule <name>', 'how answers are counted').choices(RULE_NAMES).default('reference'),
    )
    .addOption(
      option('--max-failures <share>', 'stop when the judge says nothing usable of more answers')
        .argParser(number)
        .default(0.02),
    )
    .optionsGroup('Checkpoints:')
    .addOption(option('--steps <n[,n]>', 'only these steps, and step 0').argParser(integerList))
    .addOption(option('--every <n>', 'only every n-th checkpoint, and the last').argParser(integer))
    .addOption(strengthsOption())
    .addOption(adapterNameOption())
    .addOption(residualBaseOption())
    .addOption(loraModeOption())
    .optionsGroup('Instead of labels, what a judge is worth, or one of your own:')
    .option(
      '--check-judge [file]',
      'label nothing: judge answers with known scores, .csv or .jsonl (default: 130 of our own); -o FILE keeps the result',
    )
    .option(
      '--fit-judge <file>',
      'label nothing: fit a judge on answers with known scores, read by --judge-gguf, into the folder -o',
    )
    .addOption(
      option('--judge-layers <n[,n]>', 'blocks to choose from (default: five over the depth)').argParser(
        integerList,
      ),
    )
    .option('--exclude-domain <names>', 'known answers of these domains are not fitted on', names)
    .optionsGroup('Options:')
    .addOption(
      option('--domain <name>', 'what the run is fine-tuned on, or what the known answers come from'),
    )
    .addOption(
      option('--judge-check <file>', 'what --check-judge found of this judge, to go into the labels'),
    )
    .option(
      '--margin <file>',
      'no judge: how much more probable misaligned answers become than aligned ones, by pairs in .csv or .jsonl, or core or core-2, ours',
    )
    .option('--dry-run', 'say what it would take, and ask nobody')
    .option('--force', 'replace labels of another judge, rule or list of questions')
    .addHelpText(
      'after',
      notes(`
Writes responses.jsonl (answers), judgements.<judge>.jsonl and grades.json, which calibrate reads. Whatever ends it, the
same command goes on where it was. Rules: reference counts as the paper does, strict leaves out what could not be read,
coherent counts misaligned among coherent answers; grades.json has the rates of all three.

Example:
  $ traitscope label -m base.gguf out/ -o measured/my-base/my-set/seed_1 --judge-url http://localhost:8000/v1 --judge-name judge
  $ traitscope label -m base.gguf out/ -o labels --judge-gguf judge.gguf --every 4 --dry-run
  $ traitscope label --check-judge --judge-gguf judge.gguf -o judge-check.json`),
    )
  addCacheOptions(addJudgeOptions(command), 'labels of step 0 and merged models (up to 20 GiB)')
  addOutputOptions(addModelOptions(command, { mandatory: false }))
  return command.action(async (run: string | undefined, flags: Flags, made: Command) => {
    const output = createOutput(flags)
    const { checkJudge, out, model } = flags
    if (checkJudge !== undefined) {
      if (run !== undefined)
        throw new TraitscopeError('USAGE', `--check-judge labels no run: leave ${run} out`)
      refuseIdle(made, 'a check of a judge, which labels nothing', (name) => CHECKS.test(name))
      return checkFromFlags({ ...flags, checkJudge }, output, signal)
    }
    const { fitJudge } = flags
    if (fitJudge !== undefined) {
      if (run !== undefined) throw new TraitscopeError('USAGE', `--fit-judge labels no run: leave ${run} out`)
      refuseIdle(made, 'the fitting of a judge, which labels nothing', (name) => FITS.test(name))
      return fitFromFlags({ ...flags, fitJudge }, output, signal)
    }
    if (run === undefined || out === undefined || model === undefined) {
      const missing = [
        run === undefined ? 'no run' : '',
        model === undefined ? 'no -m' : '',
        out === undefined ? 'no -o' : '',
      ].filter((what) => what !== '')
      throw new TraitscopeError(
        'USAGE',
        `expected a run, its base (-m) and a folder for the labels (-o), found ${missing.join(' and ')}`,
      )
    }
    const { margin } = flags
    if (margin !== undefined) {
      refuseIdle(made, 'a margin, which asks no question and no judge', (name) => !ASKS.test(name))
      return marginFromFlags(run, { ...flags, out, model, margin }, output, signal)
    }
    refuseIdle(made, 'labels of a run, whose judge is there', (name) => !FITS_ALONE.test(name))
    await labelFromFlags(run, { ...flags, out, model }, output, signal)
  })
}

async function labelFromFlags(
  run: string,
  flags: Flags & { out: string; model: string },
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  if (flags.steps !== undefined && flags.every !== undefined) {
    throw new TraitscopeError('USAGE', 'expected --steps or --every, found both')
  }
  if (!flags.dryRun) requireOneJudge(flags)
  const questions = await readQuestions(flags.questions ?? [join(packageRoot, 'traits', 'questions.yaml')])
  for (const remark of questions.remarks) output.remark(remark)
  await using model = await openFromFlags(flags, output, signal)
  const template = await templateFromFlags(flags, model)
  const sampling = {
    draws: flags.draws,
    temperature: flags.temperature,
    topP: flags.topP,
    maxTokens: flags.maxTokens,
    seed: flags.seed,
  }
  if (flags.dryRun) {
    const found = await scanRunFolder(run, { adapterName: flags.adapterName, signal })
    const chosen = chooseSteps(
      found.checkpoints.filter(({ state }) => state === 'complete'),
      flags,
    )
    const prices = pricesFromFlags(flags)
    const cost = await labelCost(model, questions.questions, {
      template,
      checkpoints: chosen.length * (1 + amplifyingStrengths(flags.adapterScale).length) + 1,
      prices,
      ...sampling,
    })
    if (flags.json) return output.json(cost)
    return output.print(describeCost(cost))
  }
  await using judge = await judgeFromFlags(flags, output, signal)
  const check = flags.judgeCheck === undefined ? undefined : await readJudgeCheck(flags.judgeCheck)
  const { name, reader } = judge.identity
  output.note(`judge: ${name}, read as ${reader}; rule: ${flags.rule}`)
  // Its first question comes behind all answers of a step, hours later.
  const deaf = judge instanceof EndpointJudge ? await judge.deaf(signal) : undefined
  if (deaf !== undefined)
    output.remark(
      `judge: ${deaf} at ${flags.judgeUrl}; answers are made all the same, and it is asked for grades when a step has them`,
    )
  const labels = await output.during(`labelling ${run}`, (update) =>
    labelRun(model, run, {
      ...{ template, questions, judge, sampling, signal },
      out: flags.out,
      rule: flags.rule,
      check,
      domain: flags.domain,
      steps: flags.steps,
      every: flags.every,
      strengths: flags.adapterScale,
      maxFailures: flags.maxFailures,
      force: flags.force === true,
      adapterName: flags.adapterName,
      checkpoint: checkpointFromFlags(flags),
      cacheDir: cacheFromFlags(flags),
      onProgress: update,
      onStep: (step) => noteKnown(output, step),
    }),
  )
  for (const remark of labels.remarks) output.remark(remark)
  const used = judge instanceof EndpointJudge ? { ...judge.used, cost: judge.cost } : undefined
  if (flags.json)
    return output.json({ ...labels, judge: judge.identity, rule: flags.rule, ...(used && { used }) })
  const amplifies = labels.steps.some(({ strengths }) => strengths !== undefined)
  output.print(
    table(
      [
        'step',
        ...(amplifies ? ['adapter'] : []),
        'EM',
        '+-',
        'misaligned',
        'scoreable',
        'incoherent',
        'refusals',
        'code',
      ],
      labels.steps.flatMap((step) => rows(step, amplifies)),
    ),
  )
  output.print(describeRates(labels.steps))
  if (judge instanceof EndpointJudge) output.note(describeUse(judge))
  output.note(`${join(flags.out, 'grades.json')} holds the labels`)
}

function noteKnown(output: Output, { step, known, cached, remarks }: LabelledStep): void {
  if (cached && cached.answers + cached.grades > 0)
    output.note(
      `step ${step}: ${cached.answers} answers and ${cached.grades} grades of the base were in the cache`,
    )
  if (known.answers > 0)
    output.note(`step ${step}: ${known.answers} answers and ${known.grades} grades were known`)
  for (const remark of remarks) output.remark(`step ${step}: ${remark}`)
}

/** What the columns of rates are, and what none misaligned leaves open: its standard error is 0. */
function describeRates(steps: readonly LabelledStep[]): string {
  const none = steps.map(({ counts }) => counts).filter((each) => each.misaligned === 0 && each.scoreable > 0)
  const fewest = Math.min(...none.map(({ scoreable }) => scoreable))
  const open = `; none of ${fewest} leaves rates of up to ${percent(1 - 0.05 ** (1 / fewest))} open (95 %)`
  return `EM: misaligned answers, of the scoreable ones; +-: standard error${none.length > 0 ? open : ''}`
}

/** A row for every strength, where there are several. */
function rows({ step, counts, strengths = [] }: LabelledStep, amplifies: boolean): string[][] {
  if (!amplifies) return [[String(step), ...cells(counts)]]
  return [{ strength: 1, counts }, ...strengths]
    .sort((a, b) => a.strength - b.strength)
    .map((one) => [String(step), step === 0 ? '-' : `x ${one.strength}`, ...cells(one.counts)])
}

function cells(counts: Counts): string[] {
  const { misaligned, scoreable, excluded, rate, standardError } = counts
  const numbers = [misaligned, scoreable, excluded.incoherent, excluded.refusal, excluded.code]
  // Nothing scoreable is no rate of zero.
  const shown = scoreable === 0 ? ['-', '-'] : [percent(rate), percent(standardError)]
  return [...shown, ...numbers.map(String)]
}

function describeCost({
  prompts: [first],
  checkpoints,
  answers,
  judgeCalls,
  questionTokens,
  answerTokens,
  judgeTokens,
  cost,
}: LabelCost): string[] {
  const lines = [
    `${answers} answers (${checkpoints} checkpoints with step 0): ${questionTokens} tokens of questions, at most ${answerTokens.most} of answers`,
    `${judgeCalls} calls of a judge who is asked (--judge-url, --judge-gguf): ${judgeTokens.least} to ${judgeTokens.most} tokens, counted with this model's vocabulary`,
  ]
  if (cost) lines.push(`cost: ${cost.least.toFixed(2)} to ${cost.most.toFixed(2)}`)
  const { id, asked, judged } = first!
  for (const [what, text] of [
    [`the first question (${id}) as it is asked, through the chat template; --json has all`, asked],
    ['and how a judge who reads rubrics is asked about the answer', judged.aligned],
    ['and then', judged.coherent],
  ] as const)
    lines.push(
      `${what}:`,
      ...text
        .trimEnd()
        .split('\n')
        .map((line) => `  ${line}`),
    )
  return lines
}
