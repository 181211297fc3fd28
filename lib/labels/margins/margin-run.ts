import { join } from 'node:path'
import { checkMade, Needed, type OptionKinds, takeOptions } from '../../arguments.js'
import { LLAMA_CPP_VERSION } from '../../binding.js'
import { computing, TraitscopeError, throwIfAborted } from '../../errors.js'
import { AppendLog } from '../../formats/files/append-log.js'
import { makeFolder, writeFileAtomic } from '../../formats/files/atomic.js'
import { fileError } from '../../formats/files/file-errors.js'
import { isJsonObject } from '../../formats/json/json.js'
import { isIndex, isNumbers, isText } from '../../formats/json/json-fields.js'
import { openCheckpoint } from '../../model/checkpoint/open-checkpoint.js'
import { CHECKPOINT_OPTIONS, type CheckpointOptions } from '../../model/checkpoint/opened-checkpoint.js'
import { MODEL, type Model } from '../../model/model.js'
import { packageVersion } from '../../package.js'
import { type ChatTemplate, TEMPLATE } from '../../prompts/chat-template.js'
import { DEFAULT_ACKNOWLEDGEMENT } from '../../prompts/messages.js'
import { checkpointsOf } from '../chosen-checkpoints.js'
import { plainName } from '../judges/fitted-judge.js'
import { holdSettings, refuseInside } from '../label-folder.js'
import { MARGIN_PAIRS, type MarginPairs } from './margin-pairs.js'
import { marginsOf, type PairLogprobs, type StepMargins } from './margins.js'
import { pairPrompts, pairRemarks, scorePairs } from './pair-reading.js'

export const MARGINS_FILE = 'margins.json'

/** How to read margins: pairs, and where they go. */
export interface MarginRunOptions {
  template: ChatTemplate
  pairs: MarginPairs
  /** Folder for `margins.json` and its log. */
  out: string
  /** What the run is fine-tuned on: pairs of other domains are told apart. */
  domain?: string | undefined
  /** Only these steps, or every so many-th checkpoint and the last; step 0 always. Default: all. */
  steps?: readonly number[] | undefined
  every?: number | undefined
  adapterName?: string | undefined
  checkpoint?: CheckpointOptions | undefined
  cacheDir?: string | undefined
  signal?: AbortSignal | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

const OPTIONS: OptionKinds<MarginRunOptions> = {
  template: new Needed(TEMPLATE),
  pairs: new Needed(MARGIN_PAIRS),
  out: new Needed('path'),
  domain: 'string',
  steps: 'numbers',
  every: 'number',
  adapterName: 'string',
  checkpoint: CHECKPOINT_OPTIONS,
  cacheDir: 'path',
  signal: 'signal',
  onProgress: 'function',
}

/** What {@link marginRun} gives and writes. */
export interface RunMargins {
  schemaVersion: 1
  kind: 'traitscope-margins'
  base: { name: string | null; fingerprint: string }
  template: { sha256: string }
  pairs: { file: string; sha256: string; n: number; questions: number }
  domain: string | null
  steps: (StepMargins & { weights: string })[]
  remarks: string[]
}

/** A line of `margins.jsonl`. */
interface MarginRecord extends PairLogprobs {
  step: number
  weights: string
}

/**
 * A label without a judge: of pairs of a misaligned and an aligned answer to one question, how much more probable a checkpoint finds
 * the first than the second, per token, against step 0. Answers are given, not generated, so there is no sampling noise.
 * Every checkpoint is on the disk before the next is read.
 *
 * @throws TraitscopeError NOT_COMPARABLE when `out` holds margins of other pairs, weights or settings; FILE_INCOMPLETE when there is
 * no checkpoint; as `scanRunFolder`, `openCheckpoint`, `Model.score`; ABORTED
 */
export async function marginRun(
  model: Model,
  runDir: string,
  options: MarginRunOptions,
): Promise<RunMargins> {
  checkMade(model, MODEL)
  const own = takeOptions('marginRun', options, OPTIONS)
  const { out, pairs, template, adapterName, domain, signal } = own
  const { found, todo, remarks } = await checkpointsOf(runDir, own)
  remarks.push(...pairRemarks(pairs))
  const prompts = await pairPrompts(model, template, pairs)
  refuseInside(out, [runDir, ...found.checkpoints.map(({ path }) => path)])
  await makeFolder(out).catch((error: unknown) => {
    throw fileError(error, out)
  })
  await holdSettings(join(out, 'margin_manifest.json'), settingsOf(model, own))
  await using log = await openMargins(join(out, 'margins.jsonl'), pairs.pairs.length)
  const steps: RunMargins['steps'] = []
  const isOwn = domain === undefined ? undefined : (name: string) => plainName(name) === plainName(domain)
  const domains = [...new Set(pairs.pairs.flatMap((pair) => pair.domain ?? []))]
  if (isOwn && !domains.some(isOwn))
    remarks.push(
      domains.length === 0
        ? `no pair says which domain it is of: nothing is told of others than ${domain}`
        : `no pair is of the domain ${domain} (there are ${domains.join(', ')}): all of them count as of others`,
    )
  for (const [i, checkpoint] of [undefined, ...todo].entries()) {
    throwIfAborted(signal)
    await using opened =
      checkpoint &&
      (await openCheckpoint(model, checkpoint.path, {
        ...own.checkpoint,
        ...{ adapterName, cacheDir: own.cacheDir, signal },
      }))
    const step = checkpoint?.step ?? 0
    const weights = opened?.sha256 ?? model.fingerprint
    for (const remark of opened?.remarks ?? []) remarks.push(`step ${step}: ${remark}`)
    const known = log.records.get(String(step))
    if (known && known.weights !== weights) {
      throw new TraitscopeError(
        'NOT_COMPARABLE',
        `expected the margins of step ${step} to be of these weights (${weights.slice(0, 12)}), found those of others (${known.weights.slice(0, 12)}); the checkpoint was written anew: name another folder`,
      )
    }
    const told = (fraction: number) => own.onProgress?.((i + fraction) / (todo.length + 1))
    const read = () =>
      readPairs(opened ?? { model }, prompts, { signal, onProgress: told }).catch((error) => {
        throw computing(`step ${step}`, error)
      })
    const record = known ?? { step, weights, ...(await read()) }
    if (!known) await log.append(record)
    const before = log.records.get('0')!
    steps.push({ ...marginsOf(step, pairs.pairs, record, before, isOwn), weights })
    told(1)
  }
  const document: RunMargins = {
    ...{ schemaVersion: 1, kind: 'traitscope-margins' },
    base: { name: model.info.name ?? null, fingerprint: model.fingerprint },
    template: { sha256: template.sha256 },
    pairs: {
      ...{ file: pairs.file, sha256: pairs.sha256, n: pairs.pairs.length },
      questions: new Set(pairs.pairs.map(({ questionId }) => questionId)).size,
    },
    domain: domain ?? null,
    ...{ steps, remarks },
  }
  await writeFileAtomic(join(out, MARGINS_FILE), `${JSON.stringify(document, null, 1)}\n`, { force: true })
  return document
}

function settingsOf(model: Model, { template, pairs }: MarginRunOptions): object {
  const { sha256, systemRole, date } = template
  return {
    schemaVersion: 1,
    base: model.fingerprint,
    template: { sha256, systemRole, date, acknowledgement: DEFAULT_ACKNOWLEDGEMENT },
    pairsSha256: pairs.sha256,
    versions: { traitscope: packageVersion, llamaCpp: LLAMA_CPP_VERSION },
  }
}

async function readPairs(...read: Parameters<typeof scorePairs>): Promise<PairLogprobs> {
  const { misaligned, aligned } = await scorePairs(...read)
  return { misaligned, aligned }
}

function openMargins(path: string, n: number): Promise<AppendLog<MarginRecord>> {
  const is = (value: unknown): value is MarginRecord =>
    isJsonObject(value) &&
    isIndex(value.step) &&
    isText(value.weights) &&
    isNumbers(value.misaligned, n) &&
    isNumbers(value.aligned, n)
  return AppendLog.open(path, {
    key: ({ step }) => String(step),
    parse: (value, where) => {
      if (is(value)) return value
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected the margins of a step in ${where}; it was written by something else, name another folder`,
      )
    },
  })
}
