import { isJsonObject } from '../formats/json/json.js'
import type { JsonFields } from '../formats/json/json-fields.js'
import { type CountingRule, RULE_NAMES } from './counting-rule.js'
import { type JudgeCheck, parseJudgeCheck } from './judge-check.js'
import type { JudgeIdentity } from './judge-identity.js'

/** What labels rest on, beside the answers: labels of which any of this differs must not be mixed. */
export interface LabelBasis {
  judge: JudgeIdentity
  /** SHA-256 over questions and rubrics. */
  questionsSha256: string
  rule: CountingRule
}

/** {@link LabelBasis}, and what is known of the judge. */
export interface LabelSource extends LabelBasis {
  /** How well the judge read answers with known scores; null when nobody has looked. */
  check: JudgeCheck | null
}

/** Judge, questions and rule, for a person: equal words, equal labels. */
export function describeBasis({
  judge: { kind, name, version, reader },
  questionsSha256,
  rule,
}: LabelBasis): string {
  const named = version === null ? name : `${name} (${version.slice(0, 12)})`
  return `${kind} ${named}, read as ${reader}, on questions ${questionsSha256.slice(0, 12)}, counted by the rule ${rule}`
}

/** {@link describeBasis}, and how good the judge was found to be. */
export function describeSource(source: LabelSource): string {
  const { check } = source
  if (check === null) return `${describeBasis(source)}; the judge was not checked on known answers`
  const { within, low } = check.auroc
  const figure = (value: number | null) => (value === null ? 'unknown' : value.toFixed(2))
  return `${describeBasis(source)}; AUROC of the judge within a question ${figure(within)} (lower bound ${figure(low)}) on ${check.answers.n} known answers${check.leftOut ? ', each question left out in turn' : ''}`
}

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
