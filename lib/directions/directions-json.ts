import { parseConditions } from '../conditions/conditions-json.js'
import { isJsonObject } from '../formats/json/json.js'
import {
  isFiniteNumber,
  isIndex,
  isText,
  isTexts,
  type Json,
  JsonFields,
} from '../formats/json/json-fields.js'
import { DIRECTION_METHODS, type DirectionMethod } from './difference.js'
import type { Directions, LayerDiagnostics } from './directions.js'
import type { HeldOut } from './held-out.js'

/**
 * Everything of directions but the vectors, from the parsed `directions.json`; FILE_INVALID names the field.
 * The first schema knew no held-out figures.
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
    ...(json.passagesSha256 !== undefined && { passagesSha256: at.text('passagesSha256') }),
    tokenIdsSha256: at.text('tokenIdsSha256'),
    tokens: { total: tokens.count('total'), computed: tokens.count('computed') },
    ...(json.remarks !== undefined && { remarks: sentencesOf(at) }),
    diagnostics: diagnosticsOf(at, layers, traits, json.schemaVersion === 1),
    versions: { traitscope: versions.text('traitscope'), llamaCpp: versions.text('llamaCpp') },
    sha256: at.text('sha256'),
  }
}

/** None is a list of none. */
function sentencesOf(at: JsonFields): string[] {
  const { remarks } = at.json
  return isTexts(remarks) ? remarks : at.fail('remarks', 'a list of sentences')
}

function diagnosticsOf(
  at: JsonFields,
  layers: readonly number[],
  traits: readonly string[],
  first: boolean,
): LayerDiagnostics[] {
  const found = at.list('diagnostics', isJsonObject, 'one object per layer')
  if (found.length !== layers.length || found.some(({ layer }, i) => layer !== layers[i]))
    at.fail('diagnostics', `one object for each of the layers ${layers.join(', ')}, in this order`)
  return found.map((layer) => {
    const held = first ? {} : layer.heldOut
    if (!isJsonObject(held)) at.fail('diagnostics', 'held-out figures for every layer')
    const heldOut = traits.map((trait): [string, HeldOut | null] => {
      const of = Object.hasOwn(held, trait) ? held[trait] : first ? null : undefined
      if (of !== null && !isHeldOut(of)) at.fail('diagnostics', `held-out figures of ${trait}, or null`)
      return [trait, of]
    })
    // A prior reads drifts in units of what the poles of all traits are apart.
    const { separation } = layer
    const apart = isJsonObject(separation) ? separation : {}
    const isApart = (value: unknown) => isFiniteNumber(value) && value > 0
    const lacking = traits.find((trait) => !(Object.hasOwn(apart, trait) && isApart(apart[trait])))
    if (lacking !== undefined)
      at.fail('diagnostics', `how far the poles of ${lacking} are apart at layer ${layer.layer}, more than 0`)
    return { ...layer, heldOut: Object.fromEntries(heldOut) } as unknown as LayerDiagnostics
  })
}

function isHeldOut(value: unknown): value is HeldOut {
  const isShare = (x: unknown) => isFiniteNumber(x) && x >= 0 && x <= 1
  return (
    isJsonObject(value) &&
    [value.question, value.systemPrompt, value.both].every(
      (one) =>
        one === null ||
        (isJsonObject(one) &&
          isShare(one.auroc) &&
          Array.isArray(one.interval) &&
          one.interval.length === 2 &&
          one.interval.every(isShare)),
    )
  )
}
