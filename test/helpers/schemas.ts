import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { packageRoot } from '../../lib/package.js'

export const FORMATS = join(packageRoot, 'docs', 'formats')

type Schema = Record<string, unknown>

/** The schemas of docs/formats by name, e.g. `trajectory`. */
export const schemas = new Map(
  readdirSync(FORMATS)
    .filter((file) => file.endsWith('.schema.json'))
    .map((file): [string, Schema] => [
      file.replace('.schema.json', ''),
      JSON.parse(readFileSync(join(FORMATS, file), 'utf8')),
    ]),
)

/**
 * Schemas leave room for fields of later versions. What this version writes they describe to the last field, so for our
 * own files an object has only the fields that are named.
 */
function sealed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(sealed)
  if (typeof schema !== 'object' || schema === null) return schema
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, sealed(value)]))
  const named = 'properties' in copy && copy.type === 'object' && !('additionalProperties' in copy)
  return named ? { ...copy, additionalProperties: false } : copy
}

function compile(change: (schema: unknown) => unknown): (name: string) => ValidateFunction {
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictRequired: false })
  for (const schema of schemas.values()) ajv.addSchema(change(schema) as Schema)
  return (name) => ajv.getSchema(`${name}.schema.json`) as ValidateFunction
}

const open = compile((schema) => schema)
const closed = compile(sealed)

/** What is wrong with a value by a schema of docs/formats: a line per finding, none for a valid one. */
export function schemaErrors(name: string, value: unknown, { ours = false } = {}): string[] {
  const validate = (ours ? closed : open)(name)
  if (validate(value)) return []
  return validate.errors!.map(
    ({ instancePath, message, params }) => `${name}${instancePath}: ${message} ${JSON.stringify(params)}`,
  )
}
