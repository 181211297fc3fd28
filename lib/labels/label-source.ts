import { isJsonObject } from '../formats/json/json.js'
import type { JsonFields } from '../formats/json/json-fields.js'
import { type CountingRule, RULE_NAMES } from './answers/counting-rule.js'
import { type JudgeCheck, parseJudgeCheck } from './judges/judge-check.js'
import type { JudgeIdentity } from './judges/judge-identity.js'
import { aurocWords, describeBasis, type LabelBasis, type VerdictLabels } from './label-words.js'

/** {@link LabelBasis}, and what is known of the judge. */
export interface LabelSource extends LabelBasis {
  /** How well the judge read answers with known scores; null when nobody has looked. */
  check: JudgeCheck | null
}

/** {@link describeBasis}, and how good the judge was found to be. */
export function describeSource(source: LabelSource): string {
  const { check } = source
  if (check === null) return `${describeBasis(source)}; the judge was not checked on known answers`
  return `${describeBasis(source)}; ${aurocWords(check.auroc)} on ${check.answers.n} known answers${check.leftOut ? ', each question left out in turn' : ''}`
}

/** {@link LabelSource} without the details of the check. */
export const verdictLabels = ({ judge, questionsSha256, rule, check }: LabelSource): VerdictLabels => ({
  ...{ judge: { ...judge }, questionsSha256, rule },
  auroc: check && { within: check.auroc.within, low: check.auroc.low },
})

/** The object `judge` and the `rule` beside it, as `label` and bundles write them. */
export function parseSource(at: JsonFields): LabelSource {
  const judge = at.object('judge')
  const { version, check } = judge.json
  const rule = at.text('rule') as CountingRule
  if (!RULE_NAMES.includes(rule)) at.fail('rule', `one of ${RULE_NAMES.join(', ')}`)
  return {
    judge: {
      kind: judge.text('kind') as JudgeIdentity['kind'],
      name: judge.text('name'),
      version: typeof version === 'string' ? version : null,
      reader: judge.text('reader') as JudgeIdentity['reader'],
    },
    questionsSha256: judge.text('questionsSha256'),
    rule,
    check: isJsonObject(check) ? parseJudgeCheck(judge.object('check')) : null,
  }
}

/** What {@link parseSource} reads. */
export const sourceJson = ({ judge, questionsSha256, rule, check }: LabelSource) => ({
  rule,
  judge: { ...judge, questionsSha256, ...(check && { check }) },
})
