/** Who labelled, in words that a page can show too: nothing here reads a file. */
import type { CountingRule } from './answers/counting-rule.js'
import type { JudgeIdentity } from './judges/judge-identity.js'

/** What labels rest on, beside the answers: labels of which any of this differs must not be mixed. */
export interface LabelBasis {
  judge: JudgeIdentity
  /** SHA-256 over questions and rubrics. */
  questionsSha256: string
  rule: CountingRule
}

/** What a verdict says of the labels that its rate was learnt from. */
export interface VerdictLabels extends LabelBasis {
  /** Of the judge, within a question of known answers, in [0, 1], and its lower 90 % bound; null when nobody has checked it. */
  auroc: { within: number | null; low: number | null } | null
}

/** Judge, questions and rule, for a person: equal words, equal labels. */
export function describeBasis({
  judge: { kind, name, version, reader },
  questionsSha256,
  rule,
}: LabelBasis): string {
  // A hash is told by its beginning, what an endpoint calls itself is not.
  const shown = kind === 'endpoint' ? version : version?.slice(0, 12)
  const named = shown == null || shown === name ? name : `${name} (${shown})`
  return `${kind} ${named}, read as ${reader}, on questions ${questionsSha256.slice(0, 12)}, counted by the rule ${rule}`
}

/** {@link VerdictLabels}, for a person. */
export function describeVerdictLabels(labels: VerdictLabels): string {
  const { auroc } = labels
  return `${describeBasis(labels)}; ${auroc === null ? 'the judge was not checked on known answers' : aurocWords(auroc)}`
}

export function aurocWords({ within, low }: { within: number | null; low: number | null }): string {
  const figure = (value: number | null) => (value === null ? 'unknown' : value.toFixed(2))
  return `AUROC of the judge within a question ${figure(within)} (lower bound ${figure(low)})`
}
