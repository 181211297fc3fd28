import { TraitscopeError } from '../errors.js'
import { isJsonObject } from '../formats/json.js'
import { DIRECTION_METHODS, type DirectionMethod } from './difference.js'
import type { Conditions, Directions, LayerDiagnostics } from './directions.js'

type Json = Record<string, unknown>

/**
 * Everything of directions but the vectors, from the parsed `directions.json`; FILE_INVALID names the field.
 */
export function parseDescription(json: Json, where: string): Omit<Directions, 'vectors'> {
  const at = new Fields(json, where, '')
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

function parseConditions(at: Fields): Conditions {
  const base: Fields = at.object('base')
  const template: Fields = at.object('template')
  const pack = at.object('traitPack')
  const pool = at.text('pool')
  if (pool !== 'last' && pool !== 'mean') at.fail('pool', 'last or mean')
  const systemRole = template.text('systemRole')
  if (systemRole !== 'native' && systemRole !== 'user-turn')
    template.fail('systemRole', 'native or user-turn')
  const name = base.json.name
  if (name !== null && typeof name !== 'string') base.fail('name', 'a string or null')
  return {
    base: {
      fingerprint: base.text('fingerprint'),
      architecture: base.text('architecture'),
      name,
      nLayer: base.count('nLayer'),
      nEmbd: base.count('nEmbd'),
    },
    template: {
      sha256: template.text('sha256'),
      systemRole,
      date: template.text('date'),
      acknowledgement: template.text('acknowledgement'),
    },
    traitPack: {
      name: pack.text('name'),
      sha256: pack.text('sha256'),
      contentHash: pack.text('contentHash'),
    },
    pool,
  }
}

const isText = (value: unknown): value is string => typeof value === 'string'
const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** Typed access to the fields of one JSON object, with errors that name the path of the field. */
class Fields {
  constructor(
    readonly json: Json,
    private readonly where: string,
    private readonly prefix: string,
  ) {}

  text(key: string): string {
    const value = this.json[key]
    return isText(value) ? value : this.fail(key, 'a string')
  }

  count(key: string): number {
    const value = this.json[key]
    return isIndex(value) ? value : this.fail(key, 'a non-negative integer')
  }

  object(key: string): Fields {
    const value = this.json[key]
    return new Fields(
      isJsonObject(value) ? value : this.fail(key, 'an object'),
      this.where,
      `${this.prefix}${key}.`,
    )
  }

  list<T>(key: string, check: (value: unknown) => value is T, of: string): T[] {
    const value = this.json[key]
    return Array.isArray(value) && value.length > 0 && value.every(check)
      ? value
      : this.fail(key, `a list of ${of}`)
  }

  fail(key: string, expected: string): never {
    const found = JSON.stringify(this.json[key])?.slice(0, 80) ?? 'nothing'
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected '${this.prefix}${key}' of ${this.where} to be ${expected}, found ${found}`,
    )
  }
}
