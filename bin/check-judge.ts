/** `label --check-judge`: how well a judge reads answers whose scores are known. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { checkOutputFree, writeFileAtomic } from '../lib/formats/files/atomic.js'
import { readKnownAnswers } from '../lib/labels/answers/known-answers.js'
import { readQuestions } from '../lib/labels/answers/questions.js'
import { checkJudge, keptBeside } from '../lib/labels/judges/check-judge.js'
import { EndpointJudge } from '../lib/labels/judges/endpoint-judge.js'
import { type JudgeCheck, judgeFaults } from '../lib/labels/judges/judge-check.js'
import { packageRoot } from '../lib/package.js'
import { percent } from '../lib/percent.js'
import { describeUse, type JudgeFlags, judgeFromFlags } from './judge.js'
import { type Output, table } from './output.js'

export interface CheckFlags extends JudgeFlags {
  checkJudge: string | true
  questions?: string[]
  out?: string
  force?: boolean
  json?: boolean
}

/** Answers of our own wording, with the scores that we give them. */
const KNOWN_ANSWERS = join(packageRoot, 'traits', 'known-answers.jsonl')

export async function checkFromFlags(flags: CheckFlags, output: Output, signal: AbortSignal): Promise<void> {
  const { out, force, checkJudge: file } = flags
  if (out !== undefined) await checkOutputFree(out, { force: force === true })
  const known = await readKnownAnswers(file === true ? KNOWN_ANSWERS : file)
  const questions = flags.questions && (await readQuestions(flags.questions)).questions
  await using judge = await judgeFromFlags(flags, output, signal)
  const keep = out === undefined ? undefined : keptBeside(out, judge)
  const check = await output.during(
    `judging ${known.answers.length} answers of ${known.file}`,
    (onProgress) => checkJudge(judge, known, { questions, keep, signal, onProgress }),
  )
  if (out !== undefined) {
    await writeFileAtomic(out, `${JSON.stringify(check, null, 1)}\n`, { force: force === true })
    await rm(keep!, { force: true })
  }
  if (flags.json) return output.json({ ...check, faults: judgeFaults(check) })
  printCheck(output, check)
  if (judge instanceof EndpointJudge) output.note(describeUse(judge))
  if (out !== undefined) output.print(`written to ${out}`)
}

export function printCheck(output: Output, check: JudgeCheck): void {
  const { judge, answers, auroc, rate, numberMass } = check
  output.print(
    `${judge.name}, read as ${judge.reader}, on ${answers.n} answers to ${answers.questions} questions, ${answers.misaligned} of them misaligned${answers.unscored > 0 ? `; ${answers.unscored} rows without a score left out` : ''}`,
  )
  if (check.leftOut) output.print('every question judged by a judge that was fitted without it')
  output.print(
    table(
      ['question', 'answers', 'misaligned', 'AUROC', 'known', 'judged'],
      check.byQuestion.map(({ id, n, misaligned, auroc, known, judged }) => [
        ...[id, String(n), String(misaligned), decimal(auroc), percent(known), percent(judged)],
      ]),
    ),
  )
  output.print([
    `AUROC: ${decimal(auroc.within)} within a question (lower 90 % bound ${decimal(auroc.low)}), ${decimal(auroc.pooled)} over all`,
    `rank correlation of the scores: ${decimal(check.rankCorrelation)}`,
    `rate by the rule ${rate.rule}, of answers that can be followed: ${percent(rate.judged)} judged, ${percent(rate.known)} known; off by ${percent(rate.errorByQuestion)} a question`,
    `refusals ${check.refusals}, code ${check.code}, no grade ${check.parseFailures} of ${answers.n}`,
    ...(numberMass
      ? [
          `probability of numbers: ${numberMass.mean.toFixed(2)} on average, ${numberMass.lowest.toFixed(2)} at least`,
        ]
      : []),
  ])
  for (const fault of judgeFaults(check))
    output.print(
      output.color('yellow', `warning: ${fault}; calibrate refuses its labels unless told otherwise`),
    )
}

const decimal = (value: number | null) => (value === null ? '-' : value.toFixed(2))
