import { TraitscopeError } from '../errors.js'
import type { GgufFile } from '../formats/gguf/gguf.js'
import { HfWeights } from '../formats/hf/hf-weights.js'
import { readPeftAdapter } from '../formats/peft/peft.js'
import { type CheckpointKind, type RunFolder, scanRunFolder } from '../formats/run/run-folder.js'
import { recogniseLayout } from '../formats/run/run-layout.js'
import { adapterArchitecture } from '../model/base/architectures.js'
import { planCheckpoint } from '../model/convert/full-checkpoint.js'
import { refuseMovedBase, whyMerge } from '../model/lora/attachable.js'
import { toGgufLora } from '../model/lora/lora.js'
import { planMerge } from '../model/merge/merge-plan.js'
import type { Inspection } from './inspection.js'

/**
 * Facts about a trainer's output folder, one checkpoint, an adapter or a whole model: who wrote it, what is complete,
 * and whether it fits a base.
 *
 * @throws TraitscopeError `UNSUPPORTED` when the folder is none of these; of whatever is wrong with an adapter
 */
export async function inspectRun(path: string, base: GgufFile | undefined): Promise<Inspection> {
  const run = await scanRunFolder(path)
  const { checkpoints, final, logHistory } = run
  if (checkpoints.length === 0 && !final) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${path} holds no checkpoint-N folder, no adapter, no model and no directions: give the trainer's output folder`,
    )
  }
  const layout = await recogniseLayout(run)
  const facts: Inspection['facts'] = []
  if (layout) facts.push(['written by', `${layout.tool} (${layout.evidence})`])
  if (run.kind === 'adapter') facts.push(...(await adapterFacts(path)))
  if (run.kind === 'model') facts.push(...(await modelFacts(path)))
  for (const { step, state, loss, reason } of checkpoints) {
    const complete = `complete${loss === undefined ? '' : `, loss ${loss.toFixed(4)}`}`
    const fault = reason === undefined ? '' : `, but it cannot be measured: ${reason}`
    facts.push([`step ${step}`, state === 'complete' ? `${complete}${fault}` : `incomplete: ${reason}`])
  }
  if (final && checkpoints.length > 0) facts.push(['final weights', finalFact(final.aliasOf)])
  const losses = logHistory.flatMap(({ loss }) => (loss === undefined ? [] : [loss]))
  if (losses.length > 1) {
    facts.push(['training loss', `${losses[0]!.toFixed(4)} -> ${losses.at(-1)!.toFixed(4)}`])
  }
  return {
    kind: run.kind === 'adapter' ? 'peft-adapter' : run.kind === 'model' ? 'hf-model' : 'run',
    path,
    facts: [['kind', kindFact(run)], ...facts],
    ...(base ? await allFit(run, base) : {}),
  }
}

function kindFact({ kind, checkpoints }: RunFolder): string {
  if (kind === 'adapter') return 'LoRA adapter'
  if (kind === 'model') return 'Hugging Face model'
  const what = checkpoints[0]?.kind === 'model' ? 'full fine-tuning' : 'LoRA fine-tuning'
  return kind === 'checkpoint' ? `one checkpoint of ${what}` : `${what} run`
}

function finalFact(aliasOf: number | undefined): string {
  return aliasOf === undefined ? 'of their own' : `those of step ${aliasOf}, counted once`
}

async function adapterFacts(path: string): Promise<Inspection['facts']> {
  const { modules, replaced, replacedRows, config, sha256 } = await readPeftAdapter(path)
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
  const types = new Map<string, number>()
  for (const { dtype } of weights.tensors.values()) types.set(dtype, (types.get(dtype) ?? 0) + 1)
  return [
    ['files', String(weights.files.length)],
    ['tensors', [...types].map(([type, count]) => `${count} ${type}`).join(', ')],
  ]
}

/** Every complete checkpoint is looked at: a run may have been resumed with other settings, or have diverged. */
async function allFit({ checkpoints, final }: RunFolder, base: GgufFile): Promise<Pick<Inspection, 'fits'>> {
  const complete = checkpoints.filter(({ state }) => state === 'complete')
  const weights: { step?: number; path: string; kind: CheckpointKind }[] =
    final && final.aliasOf === undefined ? [...complete, final] : complete
  let first: Inspection['fits']
  for (const one of weights) {
    const found = await fits(one, base)
    const where =
      checkpoints.length === 0 ? '' : one.step === undefined ? 'final weights: ' : `step ${one.step}: `
    if (!found.ok) return { fits: { ok: false, reason: `${where}${found.reason}` } }
    first ??= found
  }
  return first ? { fits: first } : {}
}

async function fits(
  { path, kind }: { path: string; kind: CheckpointKind },
  base: GgufFile,
): Promise<{ ok: boolean; reason: string }> {
  try {
    if (kind === 'model') {
      await using weights = await HfWeights.open(path)
      return { ok: true, reason: `all ${(await planCheckpoint(weights, base)).length} tensors match` }
    }
    const adapter = await readPeftAdapter(path)
    refuseMovedBase(adapter)
    const merged = whyMerge(adapter, base)
    if (merged === undefined) {
      return { ok: true, reason: `all ${toGgufLora(adapter, base).report.modules.length} modules match` }
    }
    planMerge(adapter, base, adapterArchitecture(base))
    return { ok: true, reason: `when it is merged, since ${merged}` }
  } catch (error) {
    if (error instanceof TraitscopeError) return { ok: false, reason: error.message }
    throw error
  }
}
