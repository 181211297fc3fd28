import { quoted } from '../json/json-scan.js'
import { contested, type PeftConfig, type PeftTargets } from './peft-config.js'
import { TINKER_HEAD } from './peft-keys.js'
import type { AdapterTensors } from './peft-tensors.js'

/**
 * What there is to say of PEFT's files, in sentences.
 *
 * @param names of all tensors of the file
 */
export function peftRemarks(config: PeftConfig, tensors: AdapterTensors, names: Iterable<string>): string[] {
  const { modules, buffers, unsaved } = tensors
  const remarks: string[] = []
  const untargeted = untargetedRemark(config.targets, modules)
  if (untargeted !== undefined) remarks.push(untargeted)
  for (const name of unsaved) {
    remarks.push(
      `adapter_config.json names ${quoted(name)} in modules_to_save, and the file holds no tensor of it: PEFT passes over a name that no module has`,
    )
  }
  const isContested = contested(config, 'alpha_pattern')
  const unclear = modules.filter(({ path }) => isContested(path))
  if (unclear.length > 0) {
    remarks.push(
      `several keys of alpha_pattern match ${unclear[0]!.path}${unclear.length > 1 ? ` and ${unclear.length - 1} more modules` : ''}, and PEFT sorted them when it saved: the first is taken, as PEFT does when it loads, and training may have taken another`,
    )
  }
  if ([...names].some((name) => name.includes(`.${TINKER_HEAD}.`))) {
    remarks.push(`${TINKER_HEAD} is read as lm_head, as by Tinker's own tools: PEFT leaves it out`)
  }
  if (buffers.length > 0) {
    remarks.push(
      `${buffers.length} buffers (${buffers[0]}, ...) are left out: they act in the backward pass only`,
    )
  }
  return remarks
}

/**
 * A sentence on modules of the file that the configuration does not target: PEFT makes none of them and leaves their tensors
 * out, so that the adapter serves with less than was saved.
 */
function untargetedRemark(
  targets: PeftTargets | undefined,
  modules: readonly { path: string }[],
): string | undefined {
  if (!targets) return undefined
  const outside = modules.filter(({ path }) => !isTargeted(targets, path))
  if (outside.length === 0) return undefined
  return `${outside.length} of ${modules.length} modules in the file (${outside[0]!.path}${outside.length > 1 ? ', ...' : ''}) are not among the target_modules or layers_to_transform of adapter_config.json: PEFT leaves them out, and here they are read`
}

/** As PEFT looks for a module: its name or the end of its path, and the last number within it. */
function isTargeted({ names, layers }: PeftTargets, path: string): boolean {
  if (!names.some((name) => path === name || path.endsWith(`.${name}`))) return false
  if (!layers) return true
  const layer = /^.*\.[^.]*\.(\d+)\./.exec(path)
  return layer !== null && layers.includes(Number(layer[1]))
}
