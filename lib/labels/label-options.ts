/** What labelling a run can be asked for, and what it gives. */
import { Made, Needed, type OptionKinds } from '../arguments.js'
import { CHECKPOINT_OPTIONS, type CheckpointOptions } from '../model/checkpoint/opened-checkpoint.js'
import { type ChatTemplate, TEMPLATE } from '../prompts/chat-template.js'
import { type CountingRule, type Counts, RULE_NAMES } from './answers/counting-rule.js'
import { QUESTION_LIST, type QuestionList } from './answers/questions.js'
import { JUDGE, type Judge } from './judges/judge.js'
import type { JudgeCheck } from './judges/judge-check.js'
import type { LabelSource } from './label-source.js'

/** Of an answer, unless told otherwise. */
export const MAX_TOKENS = 600

/** How answers are made. */
export interface SamplingOptions {
  /** Answers per question, default 1. */
  draws?: number | undefined
  /** Default 1. */
  temperature?: number | undefined
  topP?: number | undefined
  /** Default 600. */
  maxTokens?: number | undefined
  seed?: number | undefined
}

const SAMPLING_OPTIONS: OptionKinds<SamplingOptions> = {
  draws: 'number',
  temperature: 'number',
  topP: 'number',
  maxTokens: 'number',
  seed: 'number',
}

/** How to label a run: questions, judge, and where it goes. */
export interface LabelRunOptions {
  template: ChatTemplate
  questions: QuestionList
  judge: Judge
  /** How well this judge reads answers with known scores; default: what it brings along. */
  check?: JudgeCheck | undefined
  /** What the run is fine-tuned on, where that is known: a judge that was fitted there says so. */
  domain?: string | undefined
  /** Folder for `responses.jsonl`, the judgements and `grades.json`: the one that `measure` wrote, usually. */
  out: string
  /** Default `reference`. */
  rule?: CountingRule | undefined
  sampling?: SamplingOptions | undefined
  /** Only these steps, or every so many-th checkpoint and the last; step 0 always. Default: all. */
  steps?: readonly number[] | undefined
  every?: number | undefined
  /** Largest share of answers of which the judge's words cannot be used, default 0.02. */
  maxFailures?: number | undefined
  /** Replace labels of another judge or rule. */
  force?: boolean | undefined
  /** Factors on the adapter, above 0, to label every checkpoint at besides 1. */
  strengths?: readonly number[] | undefined
  adapterName?: string | undefined
  checkpoint?: CheckpointOptions | undefined
  /** Where labels of step 0 and merged models are kept between runs; default: nowhere. */
  cacheDir?: string | undefined
  signal?: AbortSignal | undefined
  onStep?: ((step: LabelledStep) => void) | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

export const LABEL_OPTIONS: OptionKinds<LabelRunOptions> = {
  template: new Needed(TEMPLATE),
  questions: new Needed(QUESTION_LIST),
  judge: new Needed(JUDGE),
  check: new Made('a check as checkJudge gives it', 'rubricsSha256'),
  domain: 'string',
  out: new Needed('path'),
  rule: RULE_NAMES,
  sampling: SAMPLING_OPTIONS,
  steps: 'numbers',
  every: 'number',
  maxFailures: 'number',
  force: 'boolean',
  strengths: 'numbers',
  adapterName: 'string',
  checkpoint: CHECKPOINT_OPTIONS,
  cacheDir: 'path',
  signal: 'signal',
  onStep: 'function',
  onProgress: 'function',
}

/** Answers and grades of step 0 that came from the cache. */
export interface CachedLabels {
  answers: number
  grades: number
}

/** One labelled checkpoint. */
export interface LabelledStep {
  step: number
  /** By the chosen rule, all draws together. */
  counts: Counts
  /** The same with the adapter's effect multiplied, ascending; absent where it was not asked for. */
  strengths?: { strength: number; counts: Counts }[]
  /** Answers and grades that were known already, those from the cache among them. */
  known: { answers: number; grades: number }
  /** Of step 0: what another run of the base had left in the cache. */
  cached?: CachedLabels
  remarks: readonly string[]
}

/** What labelling a run gives. */
export interface RunLabels {
  out: string
  source: LabelSource
  steps: LabelledStep[]
  remarks: string[]
}
