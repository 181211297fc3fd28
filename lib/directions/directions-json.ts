import { parseConditions } from '../conditions/conditions-json.js'
import { isJsonObject } from '../formats/json/json.js'
import { isIndex, isText, type Json, JsonFields } from '../formats/json/json-fields.js'
import { DIRECTION_METHODS, type DirectionMethod } from './difference.js'
import type { Directions, LayerDiagnostics } from './directions.js'

/**
 * Everything of directions but the vectors, from the parsed `directions.json`; FILE_INVALID names the field.
 */
export function parseDescription(json: Json, where: string): Omit<Directions, 'vectors'> {
  const at = new JsonFields(json, where, '')
  if (at.text('kind') !== 'traitscope-directions') at.fail('kind', '"traitscope-directions"')
  const layers = at.list('layers', isIndex, 'block indices')
  if (layers.some((layer, i) => i > 0 && layer <= layers[i - 1]!))
    at.fail('layers', 'ascending block indices')
  const traits = at.list('traits', isText, 'trait names')
  if (new Set(traits).size !== traits.length) at.fail('traits', 'every trait once')
  const method = at.text('method')
  if (!DIRECTION_METHODS.includes(method as DirectionMethod))
    at.fail('method', DIRECTION_METHODS.join(' or '))
  const tokens = at.object('tokens')
  const versions = at.object('versions')
  return {
    layers,
    traits,
    nEmbd: at.count('nEmbd'),
    method: method as DirectionMethod,
    conditions: parseConditions(at.object('conditions')),
    tokenIdsSha256: at.text('tokenIdsSha256'),
    tokens: { total: tokens.count('total'), computed: tokens.count('computed') },
    diagnostics: at.list(
      'diagnostics',
      isJsonObject,
      'one object per layer',
    ) as unknown as LayerDiagnostics[],
    versions: { traitscope: versions.text('traitscope'), llamaCpp: versions.text('llamaCpp') },
    sha256: at.text('sha256'),
  }
}
