import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { checkMade, integerOption, type OptionKinds, takeOptions } from '../../arguments.js'
import { TraitscopeError, throwIfAborted } from '../../errors.js'
import { checkOutputFree } from '../../formats/files/atomic.js'
import { type FileHash, sha256 } from '../../formats/files/hash.js'
import { checkNamed } from '../../formats/files/named-path.js'
import type { GgmlTypeName, GgufInput } from '../../formats/gguf/gguf.js'
import { type GgufParts, readGgufParts } from '../../formats/gguf/gguf-split.js'
import { storedMetadata, writeGgufStream } from '../../formats/gguf/gguf-stream.js'
import { PEFT_ADAPTER, type PeftAdapter, readPeftAdapter } from '../../formats/peft/peft.js'
import { resolveWeights } from '../../formats/run/find-weights.js'
import { packageVersion } from '../../package.js'
import { adapterArchitecture } from '../base/architectures.js'
import { adapterRemarks } from '../base/base-name.js'
import { fingerprintGguf } from '../base/fingerprint.js'
import { refuseMovedBase } from '../lora/attachable.js'
import { type AttachReport, describeAttachment } from '../lora/lora.js'
import { MAX_THREADS } from '../placement.js'
import type { RowBlock } from './merge-edits.js'
import { type MergedTensor, type MergePlan, planMerge } from './merge-plan.js'
import { mergedBytes } from './merge-stream.js'
import { fileType, isMergeType, MERGE_TYPE_NAMES, targetType, type WantedType } from './merge-types.js'

const MERGED_ADAPTER = 'traitscope.merge.adapter'

/** How to merge. */
export interface MergeOptions {
  /** The adapter to take where a folder holds several, by PEFT's name. */
  adapterName?: string | undefined
  /** Type of the changed matrices; default: the type that each has in the base. */
  type?: WantedType | undefined
  /**
   * Round values that take the place of the base's to the type that those have, whatever `type` says (default false):
   * what was saved and never trained is then what the base has, and no change.
   */
  roundReplaced?: boolean | undefined
  /** Factor on the whole change, default 1: 0.5 is half-way from the base to the trained model. */
  strength?: number | undefined
  /** The base is what an initialisation such as PiSSA left of the original, so that such adapters fit it. */
  residualBase?: boolean | undefined
  /** Replace an existing file. */
  force?: boolean | undefined
  threads?: number | undefined
  signal?: AbortSignal | undefined
  /** Fraction of the file written, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

const MERGE_OPTIONS: OptionKinds<MergeOptions> = {
  adapterName: 'string',
  type: ['float', ...MERGE_TYPE_NAMES],
  roundReplaced: 'boolean',
  strength: 'number',
  residualBase: 'boolean',
  force: 'boolean',
  threads: 'number',
  signal: 'signal',
  onProgress: 'function',
}

/** What a merge did; for the LoRA modules as when attached. */
export interface MergeReport extends AttachReport {
  /** Tensors that were changed: their type before, absent for a new one, and after. */
  readonly changed: readonly { tensor: string; from?: GgmlTypeName; to: GgmlTypeName }[]
  /** Tensors that the base does not have. */
  readonly added: readonly string[]
  /** Changed tensors of which every byte is as before: the change is below the rounding of their type. */
  readonly lost: readonly string[]
  /** What was read of the adapter. */
  readonly files: readonly FileHash[]
  /** What was left out of it or differs from the base, in sentences. */
  readonly remarks: readonly string[]
}

/**
 * Merges a PEFT adapter into a GGUF and writes the merged model as a new GGUF. Tensors that the adapter does not change
 * are copied byte for byte; the others are dequantised, changed in float32 and quantised again, a few MB at a time.
 * Metadata stays, with where the file comes from added under `traitscope.merge.`.
 *
 * @param base a GGUF; of a split one the first part
 * @param adapter a folder, or what `readPeftAdapter` read from it
 * @param out where the merged model goes; it appears when it is complete
 * @throws TraitscopeError ADAPTER_MISMATCH, ADAPTER_INVALID, UNSUPPORTED with reason and remedy, ADAPTER_NO_EFFECT when
 * nothing matches or every change is lost in rounding, FILE_EXISTS, FILE_INVALID for a base that is not finite, ABORTED
 */
export async function mergeAdapter(
  base: string,
  adapter: string | PeftAdapter,
  out: string,
  options: MergeOptions = {},
): Promise<MergeReport> {
  const own = takeOptions('mergeAdapter', options, MERGE_OPTIONS)
  const { strength = 1, signal, onProgress, force = false } = own
  checkNamed(base, 'a base model')
  throwIfAborted(signal)
  if (!Number.isFinite(strength)) {
    throw new TraitscopeError('USAGE', `expected a finite factor on the adapter, found ${strength}`)
  }
  await checkOutputFree(out, { force, inputs: [typeof adapter === 'object' ? undefined : adapter] })
  const parts = await readGgufParts(base)
  await refuseOwnBase(out, parts)
  const architecture = adapterArchitecture(parts)
  const peft = typeof adapter === 'object' ? adapter : await readNamed(adapter, own.adapterName)
  checkMade(peft, PEFT_ADAPTER)
  refuseMovedBase(peft, own.residualBase)
  const plan = planMerge(peft, parts, architecture)
  const { roundReplaced = false } = own
  const typed = plan.tensors.map((tensor) => ({
    ...tensor,
    type: typeOf(tensor, roundReplaced && isReplaced(tensor) ? undefined : own.type),
  }))

  const differing = new Set<string>()
  const context = {
    base: parts,
    strength,
    threads: integerOption('threads', own.threads ?? availableParallelism(), 1, MAX_THREADS),
    signal,
    onChange: (tensor: string) => differing.add(tensor),
  }
  const report = planReport(architecture, peft, plan)
  const metadata = await mergedMetadata(parts, peft, strength, typed, own.type)
  const tensors = typed.map((tensor) => ({
    ...tensor,
    chunks: () => mergedBytes(context, tensor, tensor.type),
  }))
  const verify = () => {
    if (!report.allZero && strength !== 0 && differing.size === 0) throw allLost(peft, parts)
  }
  await writeGgufStream(out, metadata, tensors, { force, verify, signal, onProgress })
  const changed = changesOf(typed, plan.added)
  const lost = changed.map(({ tensor }) => tensor).filter((name) => !differing.has(name))
  return {
    ...report,
    allZero: report.allZero || strength === 0,
    changed,
    added: plan.added,
    lost,
    files: peft.files,
    remarks: [...adapterRemarks(peft, parts), ...(strength > 0 ? twiceRemark(peft, parts) : [])],
  }
}

function twiceRemark({ sha256 }: PeftAdapter, { metadata }: GgufParts): string[] {
  if (metadata.get(MERGED_ADAPTER) !== sha256) return []
  return [
    'this adapter is merged into the base already, which is itself a merged model: its change is there twice',
  ]
}

async function readNamed(folder: string, name: string | undefined): Promise<PeftAdapter> {
  return readPeftAdapter((await resolveWeights(folder, name)).path, { values: 'disk' })
}

function typeOf({ name, shape, source, blocks }: MergedTensor, wanted: WantedType | undefined): GgmlTypeName {
  if (!blocks && source) return source.type
  return targetType({ name, shape, type: source?.type ?? 'F32' }, wanted)
}

/** Its values or rows are replaced and nothing else happens to it, so it can be rounded and computed with as the base's. */
function isReplaced({ source, blocks = [] }: MergedTensor): boolean {
  const writable = source !== undefined && isMergeType(source.type)
  const only = ({ edit }: RowBlock) =>
    edit?.replacement !== undefined && !edit.pair && !edit.columnNorms && !edit.rowNorms
  return writable && blocks.length > 0 && blocks.every(only)
}

/** Tensors with replaced values that cannot be rounded as the base's are. */
export function neverRounded({ tensors }: MergePlan): MergedTensor[] {
  return tensors.filter(
    (tensor) => tensor.blocks?.some(({ edit }) => edit?.replacement !== undefined) && !isReplaced(tensor),
  )
}

/** What a plan does to an adapter's modules, whether the result is written or was before. */
export function planReport(
  architecture: string,
  { modules, replaced, replacedRows }: PeftAdapter,
  { placements }: MergePlan,
): AttachReport {
  const report = describeAttachment(architecture, placements, {})
  const pure = modules.every(({ magnitude, biasB }) => !magnitude && !biasB?.some((value) => value !== 0))
  return { ...report, allZero: report.allZero && pure && replaced.length === 0 && replacedRows.length === 0 }
}

function changesOf(
  tensors: readonly (MergedTensor & { type: GgmlTypeName })[],
  added: readonly string[],
): MergeReport['changed'] {
  return tensors
    .filter(({ blocks }) => blocks)
    .map(({ name, source, type }) => ({
      tensor: name,
      ...(source && !added.includes(name) ? { from: source.type } : {}),
      to: type,
    }))
}

async function mergedMetadata(
  base: GgufParts,
  adapter: PeftAdapter,
  strength: number,
  tensors: readonly (MergedTensor & { type: GgmlTypeName })[],
  wanted: WantedType | undefined,
): Promise<GgufInput['metadata']> {
  const fingerprints = await Promise.all(base.files.map(fingerprintGguf))
  const type = wanted === undefined ? undefined : fileType(tensors)
  const own: GgufInput['metadata'] = [
    ['traitscope.merge.version', 'string', packageVersion],
    [
      'traitscope.merge.base',
      'string',
      fingerprints.length === 1 ? fingerprints[0]! : sha256(fingerprints.join()),
    ],
    [MERGED_ADAPTER, 'string', adapter.sha256],
    ['traitscope.merge.strength', 'f32', strength],
  ]
  const kept = storedMetadata(base).filter(([key]) => !own.some(([name]) => name === key))
  return [
    ...kept.map((pair): GgufInput['metadata'][number] =>
      pair[0] === 'general.file_type' && type !== undefined ? [pair[0], 'u32', type] : pair,
    ),
    ...own,
  ]
}

/** By the file itself: another path may lead to it. */
async function refuseOwnBase(out: string, { files }: GgufParts): Promise<void> {
  const target = await stat(out).catch(() => undefined)
  if (target === undefined) return
  const bases = await Promise.all(files.map(({ path }) => stat(path)))
  if (!bases.some(({ dev, ino }) => dev === target.dev && ino === target.ino)) return
  throw new TraitscopeError('USAGE', `${out} is the base itself; write the merged model to another file`)
}

function allLost(adapter: PeftAdapter, base: GgufParts): TraitscopeError {
  return new TraitscopeError(
    'ADAPTER_NO_EFFECT',
    `every change of ${adapter.path} is lost in the rounding of ${base.path}'s types; name a finer one for the merged weights with --type, e.g. --type f16`,
  )
}
