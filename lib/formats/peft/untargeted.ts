import type { PeftTargets } from './peft-config.js'

/**
 * A sentence on modules of the file that the configuration does not target: PEFT makes none of them and leaves their tensors
 * out, so that the adapter serves with less than was saved.
 */
export function untargetedRemark(
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
