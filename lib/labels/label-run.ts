import { join } from 'node:path'
import { checkMade, takeOptions } from '../arguments.js'
import { readingRemarks } from '../conditions/reading-remarks.js'
import { TraitscopeError, throwIfAborted } from '../errors.js'
import { makeFolder, writeFileAtomic } from '../formats/files/atomic.js'
import { fileError } from '../formats/files/file-errors.js'
import { sha256 } from '../formats/files/hash.js'
import { checkLength } from '../model/base/prompt-limits.js'
import { openCheckpoint } from '../model/checkpoint/open-checkpoint.js'
import { amplifyingStrengths, atStrengths, type OnModel } from '../model/checkpoint/strengths.js'
import { checkSampling } from '../model/generation-checks.js'
import { MODEL, type Model } from '../model/model.js'
import { chatTokens } from '../prompts/prompt-tokens.js'
import { countGrades } from './answers/counting-rule.js'
import { openJudgements, openResponses, type ResponseRecord } from './answers/label-log.js'
import { checkpointsOf } from './chosen-checkpoints.js'
import { type GradedStep, gradesDocument } from './grades-document.js'
import { rubricsSha256 } from './judges/check-judge.js'
import { goOnWith } from './judges/judge.js'
import { type JudgeCheck, judgeFaults } from './judges/judge-check.js'
import { beforeReplies } from './judges/judge-identity.js'
import { GRADES_FILE, holdSettings, refuseInside, refuseOtherGrades, settingsOf } from './label-folder.js'
import {
  LABEL_OPTIONS,
  type LabelledStep,
  type LabelRunOptions,
  MAX_TOKENS,
  type RunLabels,
} from './label-options.js'
import type { LabelSource } from './label-source.js'
import { Labelling } from './labelling.js'
import { Step0Labels } from './step0-labels.js'

const MANIFEST_FILE = 'label_manifest.json'

/**
 * Labels a run: questions, answers of the base and of every complete checkpoint, a judge, and the counts in `grades.json`.
 * Each answer and each grade is on the disk before the next step builds on it, so a run that ends in any way goes on where it
 * was: nothing is asked twice but the calls that were under way.
 *
 * @throws TraitscopeError NOT_COMPARABLE when `out` holds answers to other questions or of other weights or settings;
 * FILE_EXISTS for grades of another judge or rule, unless `force`; JUDGE; FILE_INCOMPLETE when there is no checkpoint; as
 * `scanRunFolder`, `openCheckpoint`, `Model.generate`; ABORTED
 */
export async function labelRun(model: Model, runDir: string, options: LabelRunOptions): Promise<RunLabels> {
  checkMade(model, MODEL)
  const own = takeOptions('labelRun', options, LABEL_OPTIONS)
  const { out, judge, questions, rule = 'reference', signal } = own
  const strengths = amplifyingStrengths(own.strengths)
  checkSampling({ temperature: 1, ...own.sampling })
  const { maxFailures = 0 } = own
  if (!(maxFailures >= 0 && maxFailures <= 1))
    throw new TraitscopeError('USAGE', `expected a share of failures from 0 to 1, found ${maxFailures}`)
  const { found, todo, remarks } = await checkpointsOf(runDir, own)
  refuseInside(out, [runDir, ...found.checkpoints.map(({ path }) => path)])
  await refuseLong(model, own)
  await makeFolder(out).catch((error: unknown) => {
    throw fileError(error, out)
  })
  const check = checkOf(own)
  // An endpoint's version is known when it has replied.
  const sourceNow = () => ({ judge: judge.identity, questionsSha256: questions.sha256, rule, check })
  await holdSettings(join(out, MANIFEST_FILE), settingsOf(model, own))
  const judgeId = sha256(JSON.stringify([beforeReplies(judge.identity), questions.sha256])).slice(0, 8)
  await using responses = await openResponses(join(out, 'responses.jsonl'))
  await using judgements = await openJudgements(join(out, `judgements.${judgeId}.jsonl`))
  goOnWith(judge, judgements.records.values())
  await refuseOtherGrades(out, sourceNow(), own.force === true)

  const work = new Labelling(own, responses, judgements)
  const graded: GradedStep[] = []
  const steps: LabelledStep[] = []
  const ids = questions.questions.map(({ id }) => id)
  const write = () => {
    const text = JSON.stringify(gradesDocument(graded, ids, sourceNow()), null, 1)
    return writeFileAtomic(join(out, GRADES_FILE), `${text}\n`, { force: true })
  }
  const base = own.cacheDir === undefined ? undefined : new Step0Labels(own.cacheDir, model, own)
  const cached = await base?.fill(responses, judgements, own.sampling?.draws ?? 1)
  goOnWith(judge, judgements.records.values())
  for (const [i, checkpoint] of [undefined, ...todo].entries()) {
    throwIfAborted(signal)
    const report = (fraction: number) => own.onProgress?.((i + fraction) / (todo.length + 1))
    const open = (strength: number) =>
      openCheckpoint(model, checkpoint!.path, { ...openOptions(own), strength })
    await using opened = checkpoint && (await open(1))
    const step = checkpoint?.step ?? 0
    const weights = opened?.sha256 ?? model.fingerprint
    const part = (i: number) => (fraction: number) => report((i + fraction) / (1 + strengths.length))
    const label = (on: OnModel, strength: number, i: number) =>
      work.label(step, { ...on, weights }, strength, part(i))
    const { grades, known } = await label(opened ?? { model }, 1, 0)
    if (step === 0) await base?.keep(responses, judgements)
    const amplified =
      opened === undefined
        ? []
        : await atStrengths(opened, strengths, open, async (on, strength) => ({
            strength,
            ...(await label(on, strength, 1 + strengths.indexOf(strength))),
          }))
    graded.push({ step, grades, strengths: amplified })
    if (work.isEnough) await write()
    const labelled = {
      step,
      counts: countGrades(grades, rule),
      known: sumKnown([known, ...amplified.map((one) => one.known)]),
      remarks: opened?.remarks ?? [],
      ...(amplified.length > 0 && {
        strengths: amplified.map(({ strength, grades }) => ({ strength, counts: countGrades(grades, rule) })),
      }),
      ...(step === 0 && cached ? { cached } : {}),
    }
    steps.push(labelled)
    own.onStep?.(labelled)
  }
  // Labels by a judge of no use are not left behind.
  work.refuseFailures(1)
  await write()
  const source = sourceNow()
  return {
    out,
    source,
    steps,
    remarks: [
      ...questions.remarks,
      ...remarks,
      ...cutRemarks([...responses.records.values()], own),
      ...readingRemarks(model),
      ...checkRemarks(source, own),
      ...(judge.remarks?.({ fingerprint: model.fingerprint, domain: own.domain }) ?? []),
    ],
  }
}

/** A judge sees the beginning alone of an answer that was cut, and small models seldom come to an end. */
function cutRemarks(answers: readonly ResponseRecord[], { sampling }: LabelRunOptions): string[] {
  const cut = answers.filter(({ finish }) => finish === 'length').length
  if (cut === 0) return []
  return [
    `${cut} of ${answers.length} answers were cut off at ${sampling?.maxTokens ?? MAX_TOKENS} tokens (-n): what would have come after that is not judged`,
  ]
}

const sumKnown = (parts: readonly LabelledStep['known'][]): LabelledStep['known'] => ({
  answers: parts.reduce((sum, { answers }) => sum + answers, 0),
  grades: parts.reduce((sum, { grades }) => sum + grades, 0),
})

/** What is known of the judge: what was given, or what it brings along. @throws NOT_COMPARABLE for that of another judge */
function checkOf({ judge, check = judge.check }: LabelRunOptions): JudgeCheck | null {
  if (check === undefined) return null
  const { kind, name, version, reader } = check.judge
  if (kind === 'endpoint' && version !== null && judge.identity.version === null) judge.servedBy = version
  if (JSON.stringify({ kind, name, version, reader }) === JSON.stringify(judge.identity)) return check
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected the check of the judge ${judge.identity.name}, read as ${judge.identity.reader}, found that of ${name}, read as ${reader}; check the judge that labels`,
  )
}

function checkRemarks({ check }: LabelSource, { judge, questions }: LabelRunOptions): string[] {
  if (check === null) {
    return judge.identity.kind === 'module' || judge.identity.kind === 'replay'
      ? []
      : ['nobody has checked this judge on answers with known scores: label --check-judge does']
  }
  const remarks = judgeFaults(check).map((fault) => `this judge is not to be relied on: ${fault}`)
  if (judge.identity.kind !== 'fitted' && check.rubricsSha256 !== rubricsSha256(questions.questions))
    remarks.push('the judge was checked with other rubrics than those of these questions')
  return remarks
}

/** A question that leaves no room for an answer is named before anything is asked. */
async function refuseLong(
  model: Model,
  { template, questions: { questions } }: LabelRunOptions,
): Promise<void> {
  const prompts = await chatTokens(
    model,
    template,
    questions.map(({ messages }) => messages),
  )
  // One token of an answer is the least that is asked for.
  for (const [i, { length }] of prompts.entries())
    checkLength(model.limits, length + 1, `the question ${questions[i]!.id} with the beginning of an answer`)
}

const openOptions = ({ checkpoint = {}, adapterName, cacheDir, signal }: LabelRunOptions) => ({
  ...checkpoint,
  adapterName,
  cacheDir,
  signal,
})
