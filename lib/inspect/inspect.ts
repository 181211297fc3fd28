import { join } from 'node:path'
import { takeOptions } from '../arguments.js'
import { notRecorded } from '../conditions/engine.js'
import { alarmWords, isJudged } from '../detector/alarm-words.js'
import { BUNDLE_FILE, loadBundle } from '../detector/bundle.js'
import { promptsWords } from '../detector/settled-words.js'
import { loadDirections } from '../directions/directions-folder.js'
import { TraitscopeError } from '../errors.js'
import { statOf } from '../formats/files/file-stats.js'
import { listFolder } from '../formats/files/list-folder.js'
import { namedPath } from '../formats/files/named-path.js'
import { type GgufFile, readGguf } from '../formats/gguf/gguf.js'
import { countedKinds, parameterCount, parametersText } from '../formats/gguf/gguf-tensors.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { describeSource } from '../labels/label-source.js'
import { pairsWords } from '../labels/margins/margin-words.js'
import { pairsRead } from '../labels/margins/pair-reading.js'
import { baseRemarks } from '../model/base/base-remarks.js'
import { fingerprintGguf } from '../model/base/fingerprint.js'
import { percent, percentAt } from '../percent.js'
import { loadTraitPack } from '../prompts/trait-pack.js'
import { readControlVector } from '../steering/control-vector-file.js'
import { readTrajectory } from '../trajectory/read-trajectory.js'
import type { Trajectory } from '../trajectory/trajectory.js'
import { type InspectProgress, inspectRun } from './inspect-run.js'
import type { Inspection } from './inspection.js'

/**
 * Recognises a GGUF, a control vector, an adapter, a model or run folder, a directions folder, a bundle, a trajectory or a trait pack,
 * and checks it.
 *
 * @param options.base a base GGUF: also says whether what is there fits it, or was made on it
 * @param options.adapterName the adapter to take where a folder holds several, by PEFT's name
 * @param options.onProgress is told how far a run of several checkpoints is
 * @throws TraitscopeError of whatever is wrong with the file; `UNSUPPORTED` when it is nothing of ours
 */
export async function inspectPath(
  path: string,
  options: {
    base?: string | undefined
    adapterName?: string | undefined
    onProgress?: InspectProgress | undefined
  } = {},
): Promise<Inspection> {
  const own = takeOptions('inspectPath', options, {
    base: 'path',
    adapterName: 'string',
    onProgress: 'function',
  })
  const target = namedPath(path, 'a file or folder')
  const info = await statOf(target)
  const base = own.base === undefined ? undefined : await readGguf(own.base)
  const against = async ([inspection, madeOn]: Inspected): Promise<Inspection> =>
    base === undefined || madeOn === undefined
      ? inspection
      : { ...inspection, fits: await madeOnBase(madeOn, base) }
  if (!info.isDirectory()) return against(await inspectFile(target))
  const names = (await listFolder(target, 'absent')).map(({ name }) => name)
  if (names.includes(BUNDLE_FILE)) return against(await inspectBundle(target))
  if (names.includes('directions.json')) return against(await inspectDirections(target))
  if (names.includes('trajectory.json'))
    return against(await inspectTrajectory(join(target, 'trajectory.json')))
  return inspectRun(target, base, own.adapterName, own.onProgress)
}

/** Our other files of JSON say what they are. */
async function otherKind(path: string): Promise<TraitscopeError | undefined> {
  const json = await readJsonFile(path)
  const kind = isJsonObject(json) ? json.kind : undefined
  if (typeof kind !== 'string') return undefined
  return new TraitscopeError(
    'UNSUPPORTED',
    `${path} says that it is a ${kind}: of JSON files inspect shows trajectories; read it as it stands, docs/formats has its fields`,
  )
}

/** What something is, and the fingerprint of the base it was made on: null where it does not say, undefined where it has none. */
type Inspected = [Inspection, madeOn: string | null | undefined]

async function madeOnBase(madeOn: string | null, base: GgufFile): Promise<NonNullable<Inspection['fits']>> {
  if (madeOn === null) return { ok: false, reason: 'it does not say on which base it was made' }
  const found = await fingerprintGguf(base)
  return found === madeOn
    ? { ok: true, reason: 'it was made on this very file' }
    : {
        ok: false,
        reason: `it was made on another file (${madeOn.slice(0, 12)}) than this one (${found.slice(0, 12)})`,
      }
}

async function inspectControlVector(path: string): Promise<Inspected> {
  const { name, vectors, unit, origin, remarks } = await readControlVector(path)
  const [first] = vectors.values()
  const found: Inspection = {
    kind: 'control-vector',
    path,
    facts: [
      ['kind', 'control vector'],
      ['name', name],
      ['architecture', origin.architecture ?? '-'],
      ['layers', [...vectors.keys()].join(', ')],
      ['hidden size', String(first!.length)],
      ['dose 1', unit === 'norm' ? 'the length of a mean state' : 'the vector as it is'],
      ['written by', origin.writtenBy],
      ['directions', origin.directionsSha256?.slice(0, 12) ?? '-'],
      ['base', origin.baseFingerprint?.slice(0, 12) ?? '-'],
    ],
    ...(remarks.length > 0 && { remarks: [...remarks] }),
  }
  return [found, origin.baseFingerprint]
}

async function inspectFile(path: string): Promise<Inspected> {
  if (path.endsWith('.json'))
    return inspectTrajectory(path).catch(async (error: unknown) => {
      throw (await otherKind(path)) ?? error
    })
  if (/\.ya?ml$/.test(path)) return inspectPack(path)
  if (!path.endsWith('.gguf')) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${path} is none of .gguf, .json (trajectory) or .yaml (trait pack): give one of these, or a folder`,
    )
  }
  const gguf = await readGguf(path)
  const text = (key: string) => {
    const value = gguf.metadata.get(key)
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
  }
  const architecture = text('general.architecture') ?? 'unknown'
  if (text('general.type') === 'adapter') {
    const found: Inspection = {
      kind: 'gguf-adapter',
      path,
      facts: [
        ['kind', 'GGUF LoRA adapter'],
        ['architecture', architecture],
        ['tensors', String(gguf.tensors.size)],
      ],
    }
    return [found, undefined]
  }
  if (architecture === 'controlvector') return inspectControlVector(path)
  const template = gguf.metadata.get('tokenizer.chat_template')
  const remarks = baseRemarks(gguf)
  const found: Inspection = {
    kind: 'gguf-model',
    path,
    facts: [
      ['kind', 'GGUF model'],
      ['name', text('general.name') ?? '-'],
      ['architecture', architecture],
      [
        'blocks',
        `${text(`${architecture}.block_count`) ?? '-'} (layers 0 to ${Number(text(`${architecture}.block_count`)) - 1})`,
      ],
      ['hidden size', text(`${architecture}.embedding_length`) ?? '-'],
      ['context', text(`${architecture}.context_length`) ?? '-'],
      ['parameters', parametersText(parameterCount(gguf))],
      ['tensors', countedKinds([...gguf.tensors.values()].map(({ type }) => type))],
      ['size', `${(gguf.fileSize / 2 ** 20).toFixed(1)} MiB`],
      [
        'chat template',
        typeof template === 'string' ? `${template.length} characters` : 'none: needs --chat-template',
      ],
      ...remarks.map((remark): [string, string] => ['remark', remark]),
    ],
    remarks,
  }
  return [found, undefined]
}

async function inspectDirections(path: string): Promise<Inspected> {
  const directions = await loadDirections(path)
  const { base, traitPack, pool } = directions.conditions
  const found: Inspection = {
    kind: 'directions',
    path,
    facts: [
      ['kind', 'trait directions'],
      ['layers', directions.layers.join(', ')],
      ['traits', directions.traits.join(', ')],
      ['base', `${base.name ?? '-'} (${base.architecture}, ${base.nLayer} blocks, ${base.nEmbd} wide)`],
      ['trait pack', traitPack.name],
      ['method', `${directions.method}, ${pool} pooling`],
      ['identity', directions.sha256],
    ],
  }
  return [found, base.fingerprint]
}

async function inspectBundle(path: string): Promise<Inspected> {
  const bundle = await loadBundle(path)
  const { detector, calibratedFor, summary, labels, ordinary, pairs } = bundle
  const { base, traitPack } = calibratedFor.conditions
  const { coverage } = summary
  const runs = `${summary.datasets.join(', ')}: ${summary.checkpoints} checkpoints`
  const found: Inspection = {
    kind: 'bundle',
    path,
    facts: [
      ['kind', 'calibrated detector'],
      ['base', `${base.name ?? '-'} (${base.architecture}, ${base.nLayer} blocks, ${base.nEmbd} wide)`],
      ['fingerprint', base.fingerprint],
      ['trait pack', traitPack.name],
      ['device', calibratedFor.deviceClass],
      ...notRecorded(calibratedFor.engine).map((what): [string, string] => [
        'not recorded',
        `${what}: not compared`,
      ]),
      [
        'model',
        `${detector.model} on ${detector.layers.length === 1 ? 'layer' : 'layers'} ${detector.layers.join(', ')}`,
      ],
      ...(isJudged(bundle)
        ? ([
            ['dangerous', `EM above ${percentAt(detector.cut)}`],
            ['alarm', alarmWords(bundle)],
            ['calibrated on', `${runs}, ${summary.dangerous} dangerous`],
            ['labels', labels === null ? 'the bundle does not say who judged' : describeSource(labels)],
            ['unseen sets', `misses ${percent(summary.fnr)}, false alarms ${percent(summary.fpr)}`],
            [
              'intervals',
              `${percent(detector.nominalCoverage)}${coverage === null ? '' : `, held ${percent(coverage)} on unseen sets`}`,
            ],
          ] as [string, string][])
        : ([
            ['alarm', alarmWords(bundle)],
            ...(pairs ? [['pairs', `${pairs.pairs.length} (${pairs.file})`]] : []),
            ['calibrated on', `${runs}, which nobody has judged`],
          ] as [string, string][])),
      [
        'contexts',
        ordinary
          ? `ranked against ${ordinary.runs.length} ordinary runs, level ${percent(1 / (ordinary.runs.length + 1))}`
          : 'not ranked: no calibration run was measured in any',
      ],
      ...summary.warnings.map((warning): [string, string] => ['warning', warning]),
    ],
  }
  return [found, base.fingerprint]
}

async function inspectTrajectory(path: string): Promise<Inspected> {
  const trajectory = await readTrajectory(path)
  const { margin } = trajectory
  const found: Inspection = {
    kind: 'trajectory',
    path,
    facts: [
      ['kind', `trajectory (${trajectory.source})`],
      ['steps', trajectory.steps.map(({ step }) => step).join(', ')],
      ['layers', trajectory.layers.map(({ layer }) => layer ?? 'unknown').join(', ')],
      ['traits', trajectory.traits.join(', ')],
      ...(trajectory.steps.some(({ settled }) => settled)
        ? [['prompts read', promptsFact(trajectory)] as [string, string]]
        : []),
      ['contexts', trajectory.contexts?.map(({ name }) => name).join(', ') ?? 'none'],
      ['margin', margin ? pairsWords(pairsRead(margin, margin.pass)) : 'not read'],
      [
        'skipped',
        trajectory.skipped.length === 0 ? 'none' : trajectory.skipped.map(({ step }) => step).join(', '),
      ],
    ],
  }
  return [found, trajectory.measurement?.conditions.base.fingerprint ?? null]
}

const promptsFact = ({ steps }: Trajectory): string =>
  `${steps.flatMap(({ step, settled }) => (settled ? `${promptsWords(settled)} of step ${step}` : [])).join(', ')}; all of the others`

async function inspectPack(path: string): Promise<Inspected> {
  const pack = await loadTraitPack(path)
  const found: Inspection = {
    kind: 'trait-pack',
    path,
    facts: [
      ['kind', 'trait pack'],
      ['name', pack.name],
      ['traits', pack.traits.map(({ name }) => name).join(', ')],
      ['questions', String(pack.questions.length)],
      [
        'evaluation',
        pack.evalPrompts.map(({ category, prompts }) => `${category} ${prompts.length}`).join(', '),
      ],
    ],
  }
  return [found, undefined]
}
