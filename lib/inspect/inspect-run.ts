import { basename, dirname, join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import type { GgufFile } from '../formats/gguf/gguf.js'
import { countedKinds, parameterCount, parametersText } from '../formats/gguf/gguf-tensors.js'
import { HfWeights } from '../formats/hf/hf-weights.js'
import { isTensorFile, type PeftAdapter, readPeftAdapter } from '../formats/peft/peft.js'
import type { CheckpointKind } from '../formats/run/checkpoint-folder.js'
import { fileFact } from '../formats/run/file-fact.js'
import { filesBelow } from '../formats/run/read-files.js'
import {
  isEmptyRun,
  type RunFolder,
  refuseParent,
  scanRunFolder,
  VANISHED,
} from '../formats/run/run-folder.js'
import { recogniseLayout } from '../formats/run/run-layout.js'
import { adapterArchitecture } from '../model/base/architectures.js'
import { adapterRemarks } from '../model/base/base-name.js'
import { modelRemarks, planCheckpoint } from '../model/convert/full-checkpoint.js'
import { refuseMovedBase, whyMerge } from '../model/lora/attachable.js'
import { toGgufLora } from '../model/lora/lora.js'
import { planMerge } from '../model/merge/merge-plan.js'
import { baseTemplateRemark } from '../prompts/own-template.js'
import { measuredBelow } from '../runs/runs.js'
import type { Inspection } from './inspection.js'

/** Fraction of a run's checkpoints that have been looked at, 0 to 1, and how many there are. */
export type InspectProgress = (fraction: number, total: number) => void

/** Weights of a run that are looked at: its complete checkpoints, and the final ones unless a checkpoint has them. */
interface Place {
  path: string
  kind: CheckpointKind
  /** `step 10`, `final weights`; undefined when the folder is itself an adapter or a model. */
  label: string | undefined
  /** Where its chat template may be. */
  folders: readonly string[]
}

/** What is known of a place once its files have been read. */
interface Looked {
  files: { path: string; sha256?: string }[]
  remarks: readonly string[]
  /** Why it cannot be read. */
  problem?: string
  /** Absent without a base. */
  fits?: { ok: boolean; reason: string }
}

/**
 * Facts about a trainer's output folder, one checkpoint, an adapter or a whole model: who wrote it, what is complete,
 * what would be read, and whether it fits a base.
 *
 * @throws TraitscopeError `UNSUPPORTED` when the folder is none of these, `AMBIGUOUS` when it holds several; of whatever is wrong
 * with an adapter
 */
export async function inspectRun(
  path: string,
  base: GgufFile | undefined,
  adapterName?: string,
  onProgress?: InspectProgress,
): Promise<Inspection> {
  const run = await scanRunFolder(path, { adapterName })
  const { checkpoints, final, logHistory } = run
  refuseParent(run)
  if (isEmptyRun(run)) {
    const below = await measuredBelow(path)
    if (below !== '')
      throw new TraitscopeError(
        'AMBIGUOUS',
        `${path} is no run, but measured ones lie below it: name one of them (${below})`,
      )
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${path} holds no checkpoint-N folder, adapter, model, directions, bundle or trajectory: give the trainer's output folder once something is saved there, or what directions, measure or calibrate wrote`,
    )
  }
  const layout = await recogniseLayout(run)
  const facts: Inspection['facts'] = []
  if (layout) facts.push(['written by', `${layout.tool} (${layout.evidence})`])
  if (run.kind === 'adapter') facts.push(...adapterFacts(await readPeftAdapter(final!.path)))
  if (run.kind === 'model') facts.push(...(await modelFacts(path)))
  const places = placesOf(run)
  const looks: Looked[] = []
  for (const place of places) {
    onProgress?.(looks.length / places.length, places.length)
    looks.push(await look(place, run, base))
  }
  const lookAt = (label: string) => looks[places.findIndex((place) => place.label === label)]
  for (const { step, state, loss, reason, fault } of checkpoints) {
    const complete = `complete${loss === undefined ? '' : `, loss ${loss.toFixed(4)}`}`
    const looked = lookAt(`step ${step}`)
    const what = fault ? problemFact(fault.message) : looked ? weightsFact(looked) : ''
    facts.push([`step ${step}`, state === 'complete' ? complete + what : `incomplete: ${reason}`])
  }
  for (const folder of run.vanished) facts.push([basename(folder), VANISHED])
  if (final && run.kind === 'run') {
    const looked = lookAt('final weights')
    facts.push(['final weights', `${finalFact(final.aliasOf)}${looked ? weightsFact(looked) : ''}`])
  }
  if (run.kind === 'adapter' || run.kind === 'model') facts.push(['read', fileFact(looks[0]!.files)])
  const losses = logHistory.flatMap(({ loss }) => (loss === undefined ? [] : [loss]))
  if (losses.length > 1) {
    facts.push(['training loss', `${losses[0]!.toFixed(4)} -> ${losses.at(-1)!.toFixed(4)}`])
  }
  const remarks = [...run.remarks, ...shared(places, looks)]
  return {
    kind: run.kind === 'adapter' ? 'peft-adapter' : run.kind === 'model' ? 'hf-model' : 'run',
    path,
    facts: [['kind', kindFact(run)], ...facts, ...remarks.map((text): [string, string] => ['remark', text])],
    remarks,
    files: looks.flatMap(({ files }) => files),
    ...(base ? allFit(run, places, looks) : {}),
  }
}

function placesOf({ checkpoints, final, path, kind }: RunFolder): Place[] {
  const places = checkpoints
    .filter(({ state, fault }) => state === 'complete' && !fault)
    .map((one): Place => ({ ...one, label: `step ${one.step}`, folders: [one.folder, path] }))
  if (!final || final.aliasOf !== undefined) return places
  return [...places, { ...final, label: kind === 'run' ? 'final weights' : undefined, folders: [path] }]
}

/** Every one is looked at: a run may have been resumed with other settings, or have diverged. */
async function look(place: Place, run: RunFolder, base: GgufFile | undefined): Promise<Looked> {
  const { path, kind } = place
  const folders = [isTensorFile(path) ? dirname(path) : path, ...place.folders]
  const other = base && (await baseTemplateRemark(folders, base))
  try {
    const looked =
      kind === 'model' ? await lookAtModel(path, run, base) : await lookAtAdapter(path, run, base)
    return other === undefined ? looked : { ...looked, remarks: [...looked.remarks, other] }
  } catch (error) {
    if (!(error instanceof TraitscopeError)) throw error
    const problem = error.message
    return { files: [], remarks: [], problem, ...(base ? { fits: { ok: false, reason: problem } } : {}) }
  }
}

async function lookAtModel(path: string, run: RunFolder, base: GgufFile | undefined): Promise<Looked> {
  await using weights = await HfWeights.open(path)
  const files = weights.files.map((name) => ({ path: join(path, name), sha256: '' }))
  return {
    files: filesBelow(run.path, files).map((file) => ({ path: file.path })),
    remarks: base ? await modelRemarks(weights, base) : [],
    ...(base &&
      (await fitting(async () => `all ${(await planCheckpoint(weights, base)).length} tensors match`))),
  }
}

async function lookAtAdapter(path: string, run: RunFolder, base: GgufFile | undefined): Promise<Looked> {
  const adapter = await readPeftAdapter(path)
  return {
    files: filesBelow(run.path, adapter.files),
    remarks: base ? adapterRemarks(adapter, base) : adapter.remarks,
    ...(base && (await fitting(() => adapterFitting(adapter, base)))),
  }
}

/** Whether it fits, with the reason; an error is a reason too. */
async function fitting(check: () => string | Promise<string>): Promise<Required<Pick<Looked, 'fits'>>> {
  try {
    return { fits: { ok: true, reason: await check() } }
  } catch (error) {
    if (error instanceof TraitscopeError) return { fits: { ok: false, reason: error.message } }
    throw error
  }
}

function adapterFitting(adapter: PeftAdapter, base: GgufFile): string {
  refuseMovedBase(adapter)
  const merged = whyMerge(adapter, base)
  if (merged === undefined) return `all ${toGgufLora(adapter, base).report.modules.length} modules match`
  planMerge(adapter, base, adapterArchitecture(base))
  return `when it is merged, since ${merged}`
}

function allFit(
  { kind, checkpoints }: RunFolder,
  places: readonly Place[],
  looks: readonly Looked[],
): Pick<Inspection, 'fits'> {
  const faulty = checkpoints.find(({ fault }) => fault)
  if (faulty) return { fits: { ok: false, reason: `step ${faulty.step}: ${faulty.fault!.message}` } }
  const bad = looks.findIndex(({ fits }) => fits?.ok === false)
  if (bad >= 0) {
    const where = kind === 'adapter' || kind === 'model' ? '' : `${places[bad]!.label}: `
    return { fits: { ok: false, reason: `${where}${looks[bad]!.fits!.reason}` } }
  }
  const first = looks.find(({ fits }) => fits)?.fits
  return first ? { fits: first } : {}
}

/** Remarks that several places share are said once, with their names. */
function shared(places: readonly Place[], looks: readonly Looked[]): string[] {
  const byText = new Map<string, string[]>()
  for (const [i, { remarks }] of looks.entries()) {
    for (const text of remarks) byText.set(text, [...(byText.get(text) ?? []), places[i]!.label ?? ''])
  }
  return [...byText].map(([text, at]) => (at.length === places.length ? text : `${at.join(', ')}: ${text}`))
}

const weightsFact = ({ files, problem }: Looked): string =>
  problem === undefined ? `; ${fileFact(files)}` : problemFact(problem)

const problemFact = (message: string): string => `, but it cannot be measured: ${message}`

function kindFact({ kind, checkpoints, final }: RunFolder): string {
  if (kind === 'adapter') return 'LoRA adapter'
  if (kind === 'model') return 'Hugging Face model'
  const what = (checkpoints[0] ?? final)?.kind === 'model' ? 'full fine-tuning' : 'LoRA fine-tuning'
  return kind === 'checkpoint' ? `one checkpoint of ${what}` : `${what} run`
}

function finalFact(aliasOf: number | undefined): string {
  return aliasOf === undefined ? 'of their own' : `those of step ${aliasOf}, counted once`
}

function adapterFacts({ modules, replaced, replacedRows, config, sha256 }: PeftAdapter): Inspection['facts'] {
  const distinct = (values: number[]) => [...new Set(values)].sort((a, b) => a - b).join(', ')
  const names = [...new Set(modules.map((module) => module.path.split('.').at(-1)!))].sort()
  const more = [
    ...(modules.some(({ magnitude }) => magnitude) ? ['DoRA'] : []),
    ...(replaced.length > 0 ? [`${replaced.length} replaced tensors`] : []),
    ...(replacedRows.length > 0 ? ['trained tokens'] : []),
    ...(config.movedBase === undefined ? [] : [`initialised with ${config.movedBase}`]),
  ]
  return [
    ['modules', `${modules.length} (${names.join(', ')})`],
    ['rank', distinct(modules.map(({ r }) => r))],
    ['scale', distinct(modules.map(({ scale }) => scale))],
    ...(more.length > 0 ? [['beside', more.join(', ')] as [string, string]] : []),
    ...(config.baseModel === undefined ? [] : [['trained on', config.baseModel] as [string, string]]),
    ['identity', sha256],
  ]
}

async function modelFacts(path: string): Promise<Inspection['facts']> {
  await using weights = await HfWeights.open(path)
  return [
    ['files', String(weights.files.length)],
    ['parameters', parametersText(parameterCount(weights))],
    ['tensors', countedKinds([...weights.tensors.values()].map(({ dtype }) => dtype))],
  ]
}
