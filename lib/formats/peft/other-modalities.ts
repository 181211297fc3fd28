import { TraitscopeError } from '../../errors.js'
import { isOtherModality } from '../hf/module-names.js'
import type { AdapterTensors, LoraModule } from './peft-tensors.js'

/**
 * Leaves out the modules of a vision or audio part whose product is zero, as a run on text alone leaves them where
 * target_modules named layers of all parts ("all-linear"). What is not zero stays, and is refused where it meets a base.
 *
 * @returns the rest, and a remark when anything was left out
 * @throws ADAPTER_NO_EFFECT when nothing else was there
 */
export function leaveOutOtherModalities(
  tensors: AdapterTensors,
  where: string,
): { tensors: AdapterTensors; remark?: string } {
  const isLeftOut = (module: LoraModule) => isOtherModality(module.path) && isZero(module)
  const left = tensors.modules.filter(isLeftOut)
  if (left.length === 0) return { tensors }
  const modules = tensors.modules.filter((module) => !isLeftOut(module))
  const what = `${left.length} modules of a vision or audio part (${left[0]!.path}, ...)`
  if (modules.length + tensors.replaced.length + tensors.replacedRows.length === 0) {
    throw new TraitscopeError(
      'ADAPTER_NO_EFFECT',
      `${where} holds ${what} and nothing else, and they are all zero; train modules of the language model`,
    )
  }
  return {
    tensors: { ...tensors, modules },
    remark: `${what} are left out: they are all zero and change nothing`,
  }
}

/** A magnitude of DoRA changes weights also beside a zero product. */
function isZero({ a, b, scale, magnitude, biasB }: LoraModule): boolean {
  const empty = (values: Float32Array) => values.every((value) => value === 0)
  if (magnitude || (biasB && !empty(biasB))) return false
  return scale === 0 || empty(b) || empty(a)
}
