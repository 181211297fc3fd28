import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Directions, encodeDirections } from '../../lib/directions/directions.js'
import { loadDirections, saveDirections } from '../../lib/directions/directions-folder.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { encodeSafetensors, readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { fakeDirections } from './fake-directions.js'

let folder: string
let directions: Directions
const path = (...names: string[]) => join(folder, ...names)

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-directions-'))
  directions = fakeDirections()
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('saveDirections', () => {
  it('should write one F32 tensor per layer and trait, and read back what it wrote', async () => {
    await saveDirections(directions, path('d'))
    const file = await readSafetensors(path('d', 'directions.safetensors'))
    expect([...file.tensors.keys()].sort()).toEqual(['1/a/b', '1/courage', '3/a/b', '3/courage'])
    expect(file.tensors.get('3/courage')).toMatchObject({ dtype: 'F32', shape: [8] })
    expect(await loadDirections(path('d'))).toEqual(directions)
  })

  it.each([[[]], [['the base was asked for so many tokens']]])(
    'should keep the remarks %j, and what they were made of',
    async (remarks) => {
      const made = { ...directions, remarks, passagesSha256: 'b'.repeat(64) }
      await saveDirections(made, path('d'))
      expect(await loadDirections(path('d'))).toEqual(made)
    },
  )

  it('should write the same bytes every time', async () => {
    await saveDirections(directions, path('a'))
    await saveDirections(await loadDirections(path('a')), path('b'))
    for (const name of ['directions.json', 'directions.safetensors']) {
      expect(await readFile(path('b', name))).toEqual(await readFile(path('a', name)))
    }
  })

  it('should replace only with force, and only its own folders', async () => {
    await saveDirections(directions, path('d'))
    await expect(saveDirections(directions, path('d'))).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    await saveDirections(directions, path('d'), { force: true })
    await mkdir(path('other'))
    await writeFile(path('other', 'thesis.txt'), 'precious')
    await expect(saveDirections(directions, path('other'), { force: true })).rejects.toMatchObject({
      code: 'FILE_EXISTS',
    })
    expect(await readFile(path('other', 'thesis.txt'), 'utf8')).toBe('precious')
    expect((await readdir(folder)).sort()).toEqual(['d', 'other'])
  })
})

describe('loadDirections', () => {
  /** Rewrites the description and its own hash, as a careful forger would. */
  async function edit(change: Record<string, unknown>) {
    const { descriptionSha256: _, ...json } = JSON.parse(await readFile(path('d', 'directions.json'), 'utf8'))
    const edited = { ...json, ...change }
    const signed = { ...edited, descriptionSha256: sha256(JSON.stringify(edited)) }
    await writeFile(path('d', 'directions.json'), JSON.stringify(signed))
  }

  async function replaceVectors(vectors: Float32Array) {
    const bytes = encodeDirections({ ...directions, vectors })
    await writeFile(path('d', 'directions.safetensors'), bytes)
    await edit({ sha256: sha256(bytes) })
  }

  it('should say of another folder that it is none of directions', async () => {
    await expect(loadDirections(path('.'))).rejects.toThrow(
      /expected directions\.json in .*, found none; name a folder that `traitscope directions` made/,
    )
  })

  it.each<[string, string, () => Promise<unknown>]>([
    ['a missing description', 'FILE_NOT_FOUND', () => rm(path('d', 'directions.json'))],
    ['missing vectors', 'FILE_NOT_FOUND', () => rm(path('d', 'directions.safetensors'))],
    ['a description that is no JSON', 'FILE_INVALID', () => writeFile(path('d', 'directions.json'), '{')],
    ['a list', 'FILE_INVALID', () => writeFile(path('d', 'directions.json'), '[]')],
    [
      'an edited description',
      'FILE_INVALID',
      async () => {
        const text = await readFile(path('d', 'directions.json'), 'utf8')
        await writeFile(path('d', 'directions.json'), text.replace('"pool": "last"', '"pool": "mean"'))
      },
    ],
    [
      'edited vectors',
      'FILE_INVALID',
      async () => {
        const bytes = await readFile(path('d', 'directions.safetensors'))
        bytes[bytes.length - 3]! ^= 1
        await writeFile(path('d', 'directions.safetensors'), bytes)
      },
    ],
    [
      'vectors that were cut short',
      'FILE_INCOMPLETE',
      async () => {
        const bytes = await readFile(path('d', 'directions.safetensors'))
        await writeFile(path('d', 'directions.safetensors'), bytes.subarray(0, bytes.length - 4))
      },
    ],
    ['NaN', 'SHAPE', () => replaceVectors(directions.vectors.map((v, i) => (i === 3 ? Number.NaN : v)))],
    [
      'a zero vector',
      'FILE_INVALID',
      () => replaceVectors(directions.vectors.map((v, i) => (i < 8 ? 0 : v))),
    ],
    ['long vectors', 'FILE_INVALID', () => replaceVectors(directions.vectors.map((v) => 2 * v))],
    [
      'other tensors than it says',
      'FILE_INVALID',
      async () => {
        const data = Float32Array.of(1, 0, 0, 0, 0, 0, 0, 0)
        const names = ['1/courage', '1/a/b', '3/courage', '4/a/b']
        const bytes = encodeSafetensors(names.map((name) => ({ name, dtype: 'F32', shape: [8], data })))
        await writeFile(path('d', 'directions.safetensors'), bytes)
        await edit({ sha256: sha256(bytes) })
      },
    ],
    ['a newer schema', 'UNSUPPORTED', () => edit({ schemaVersion: 3 })],
    ['no held-out figures', 'FILE_INVALID', () => edit({ diagnostics: [{ layer: 1 }, { layer: 3 }] })],
    [
      'a held-out share above 1',
      'FILE_INVALID',
      () => {
        const both = { auroc: 1.5, interval: [0, 1] }
        const heldOut = { courage: { question: null, systemPrompt: null, both }, 'a/b': null }
        return edit({ diagnostics: directions.diagnostics.map((layer) => ({ ...layer, heldOut })) })
      },
    ],
    ['diagnostics of fewer layers', 'FILE_INVALID', () => edit({ diagnostics: [directions.diagnostics[0]] })],
    [
      'diagnostics of layers in another order',
      'FILE_INVALID',
      () => edit({ diagnostics: [...directions.diagnostics].reverse() }),
    ],
    ['no schema', 'FILE_INVALID', () => edit({ schemaVersion: undefined })],
    ['layers out of order', 'FILE_INVALID', () => edit({ layers: [3, 1] })],
    ['a repeated trait', 'FILE_INVALID', () => edit({ traits: ['a/b', 'a/b'] })],
    ['an unknown method', 'FILE_INVALID', () => edit({ method: 'magic' })],
    ['no conditions', 'FILE_INVALID', () => edit({ conditions: undefined })],
    ['a fractional width', 'FILE_INVALID', () => edit({ nEmbd: 7.5 })],
    ['a width that nothing could hold', 'FILE_INVALID', () => edit({ nEmbd: 2 ** 33 })],
  ])('should refuse %s with %s', async (_, code, damage) => {
    await saveDirections(directions, path('d'))
    await damage()
    await expect(loadDirections(path('d'))).rejects.toMatchObject({ code })
  })

  it.each([0, -2, null, '2', undefined])(
    'should refuse poles of a trait that are %j apart, which the unit of drifts is made of',
    async (courage) => {
      await saveDirections(directions, path('d'))
      const separation = { courage, 'a/b': 1 }
      await edit({ diagnostics: directions.diagnostics.map((layer) => ({ ...layer, separation })) })
      await expect(loadDirections(path('d'))).rejects.toThrow(
        /'diagnostics' of .* how far the poles of courage are apart at layer 1, more than 0/,
      )
    },
  )

  it('should load a folder of the first schema, which told nothing of other prompts', async () => {
    await saveDirections(directions, path('d'))
    const diagnostics = directions.diagnostics.map(({ heldOut: _, ...layer }) => layer)
    await edit({ schemaVersion: 1, diagnostics })
    expect(await loadDirections(path('d'))).toEqual({
      ...directions,
      diagnostics: diagnostics.map((layer) => ({ ...layer, heldOut: { courage: null, 'a/b': null } })),
    })
  })

  it('should load from wherever the folder was moved', async () => {
    await saveDirections(directions, path('d'))
    await cp(path('d'), path('e'), { recursive: true })
    expect((await loadDirections(path('e'))).sha256).toBe(directions.sha256)
  })
})
