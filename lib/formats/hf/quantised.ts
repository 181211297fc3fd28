import { join } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import { isJsonObject, readJsonFile } from '../json/json.js'
import { quoted, shown } from '../json/json-scan.js'
import type { HfWeights } from './hf-weights.js'

/** Tensors that quantisers save beside packed weights: bitsandbytes, GPTQ and AWQ, FP8, compressed-tensors, MXFP4. */
const COMPANIONS =
  /\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.[^.]+|SCB|weight_format|qweight|qzeros|scales|g_idx|weight_scale(_inv)?|weight_packed|weight_shape|weight_zero_point|input_scale)$|_(blocks|scales)$/
/** Types of floating point that a weight which is not packed has. */
const FLOATS: ReadonlySet<string> = new Set(['F64', 'F32', 'F16', 'BF16'])

/**
 * Refuses a model whose weights were saved quantised: its tensors are packed numbers of another shape, or have scales
 * beside them.
 *
 * @throws UNSUPPORTED naming the method
 */
export async function refuseQuantised(weights: HfWeights): Promise<void> {
  const tensor = [...weights.tensors.values()].find(
    ({ name, dtype }) => COMPANIONS.test(name) || (name.endsWith('.weight') && !FLOATS.has(dtype)),
  )
  if (!tensor) return
  const config = await readJsonFile(join(weights.folder, 'config.json'), 'vanished').catch(
    (error: unknown) => {
      if (isTraitscopeError(error)) return undefined
      throw error
    },
  )
  const settings = isJsonObject(config) ? config.quantization_config : undefined
  const method = isJsonObject(settings) ? settings.quant_method : undefined
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${weights.folder} holds quantised weights (${method === undefined ? 'config.json does not say by which method' : `quant_method ${shown(method)}`}; tensor ${quoted(tensor.name)} is ${tensor.dtype}); load it with transformers, call model.dequantize() and model.save_pretrained(folder, save_original_format=False), and measure that folder`,
  )
}
