import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  checkEach,
  checkList,
  checkMade,
  Made,
  Needed,
  type OptionKinds,
  takeOptions,
  takeTexts,
  takeTokenLists,
  takeTokens,
} from '../lib/arguments.js'

interface Options {
  layers?: readonly number[] | undefined
  names?: readonly string[] | undefined
  mode?: 'fast' | 'slow' | undefined
  threads?: number | undefined
  force?: boolean | undefined
  title?: string | undefined
  out?: string | undefined
  cacheDir?: string | false | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((fraction: number) => void) | undefined
  model?: { weights: number } | undefined
  nested?: { top?: number | undefined } | undefined
  loose?: number | 'auto' | undefined
  pack?: { name: string; words: string[] } | undefined
  control?: ReadonlyMap<number, Float32Array> | undefined
}

const KINDS: OptionKinds<Options> = {
  layers: 'numbers',
  names: 'strings',
  mode: ['fast', 'slow'],
  threads: 'number',
  force: 'boolean',
  title: 'string',
  out: 'path',
  cacheDir: 'path',
  signal: 'signal',
  onProgress: 'function',
  model: new Made('a model as open() opens it', 'weights'),
  nested: { top: 'number' },
  loose: 'any',
  pack: new Made('a pack as load() reads it', 'words', true),
  control: 'data',
}

const take = (options: unknown) => takeOptions('run', options as Options, KINDS)
const refused = (message: RegExp) =>
  expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) })

describe('takeOptions', () => {
  it('should give back what is right', () => {
    const { signal } = new AbortController()
    const onProgress = () => {}
    const options = {
      ...{ layers: [1, 2], names: ['a'], mode: 'slow', threads: 2, force: false, title: '', cacheDir: false },
      ...{ signal, onProgress, model: { weights: 1 }, nested: { top: 3 }, loose: 'auto' },
    }
    expect(take(options)).toEqual(options)
    expect(take(undefined)).toEqual({})
  })

  it('should take a typed array for a list of numbers', () => {
    expect(take({ layers: Int32Array.of(1, 2) })).toEqual({ layers: [1, 2] })
  })

  it('should read options of a class, whose getters spread leaves out', () => {
    class Settings {
      get threads() {
        return 3
      }
    }
    expect(take(new Settings())).toEqual({ threads: 3 })
  })

  it.each([
    [{ thread: 2 }, /^expected options that run has \(layers, .*, control\), found thread$/],
    [{ nested: { tip: 1 } }, /options that nested \(run\) has \(top\), found tip/],
    [null, /options of run as an object, found null/],
    ['fast', /as an object, found the text "fast"/],
    [[1], /as an object, found an Array/],
    [{ layers: 3 }, /layers of run to be a list of numbers, found 3/],
    [{ layers: ['1'] }, /a list of numbers, found the text "1" at 0/],
    [{ layers: new Set([1]) }, /found a Set/],
    [{ layers: new Array(1) }, /a list of numbers, found undefined at 0/],
    [{ names: 'abc' }, /names of run to be a list of strings, found the text "abc"/],
    [{ mode: 'quick' }, /mode of run to be fast or slow, found the text "quick"/],
    [{ threads: '2' }, /threads of run to be a number, found the text "2"/],
    [{ threads: Number.NaN }, /a number, found NaN/],
    [{ threads: null }, /a number, found null/],
    [{ force: 'no' }, /force of run to be a boolean, found the text "no"/],
    [{ title: 3 }, /a string, found 3/],
    [{ out: '' }, /out of run to be a path, found the text ""/],
    [{ cacheDir: true }, /a path, found true/],
    [{ signal: new AbortController() }, /an AbortSignal, found an AbortController/],
    [{ onProgress: 3 }, /a function, found 3/],
    [{ model: 'base.gguf' }, /model of run to be a model as open\(\) opens it, found the text "base.gguf"/],
    [{ model: {} }, /found an object/],
    [{ model: Promise.resolve({ weights: 1 }) }, /found a Promise: await it/],
    [
      { pack: { words: [() => 'one'] } },
      /expected pack of run to be data that can be copied: DataCloneError/,
    ],
    [{ control: () => new Map() }, /expected control of run to be data that can be copied/],
  ])('should refuse %j', (options, message) => {
    expect(() => take(options)).toThrow(refused(message))
  })

  it('should leave out what is undefined, under whatever name', () => {
    expect(take({ threads: undefined, thread: undefined })).toEqual({})
  })

  it('should not be changed by what happens to the options afterwards', () => {
    const layers = [1, 2]
    const nested = { top: 3 }
    const pack = { name: 'own', words: ['one'] }
    const control = new Map([[3, Float32Array.of(1, 2)]])
    const options = { layers, nested, threads: 2, out: 'out', pack, control }
    const taken = take(options)
    layers.length = 0
    nested.top = 9
    options.threads = 7
    pack.words.push('two')
    control.get(3)!.fill(0)
    control.clear()
    expect(taken).toEqual({
      ...{ layers: [1, 2], nested: { top: 3 }, threads: 2, out: resolve('out') },
      pack: { name: 'own', words: ['one'] },
      control: new Map([[3, Float32Array.of(1, 2)]]),
    })
  })
})

describe('an option without a default', () => {
  const kinds: OptionKinds<{ title: string }> = { title: new Needed('string') }
  it('should be asked for', () => {
    expect(takeOptions('report', { title: 'x' }, kinds)).toEqual({ title: 'x' })
    for (const nothing of [undefined, {}, { title: undefined }])
      expect(() => takeOptions('report', nothing as never, kinds)).toThrow(
        refused(/^expected the option title of report, which has no default, found none$/),
      )
    expect(() => takeOptions('report', { title: 3 } as never, kinds)).toThrow(refused(/a string, found 3/))
  })
})

describe('takeTokens', () => {
  it('should copy lists of token ids', () => {
    const tokens = Int32Array.of(1, 2)
    const taken = takeTokens('prompts', [tokens])
    tokens.fill(9)
    expect(taken).toEqual([Int32Array.of(1, 2)])
  })

  it.each([
    [undefined, /prompts as a list of Int32Arrays of token ids, found undefined/],
    ['abc', /found the text "abc"/],
    [Int32Array.of(1), /found an Int32Array/],
    [[[1, 2]], /prompts as Int32Arrays of token ids, found an Array at 0/],
    [[Int32Array.of(1), Float32Array.of(1.5)], /found a Float32Array at 1/],
    [new Array(1), /found undefined at 0/],
    [['abc'], /found the text "abc" at 0/],
  ])('should refuse %j', (given, message) => {
    expect(() => takeTokens('prompts', given as never)).toThrow(refused(message))
  })

  it('should name the prompt whose lists are wrong', () => {
    expect(takeTokenLists('answers', [[Int32Array.of(1)]])).toEqual([[Int32Array.of(1)]])
    expect(() => takeTokenLists('answers', [[], [[1]]] as never)).toThrow(
      refused(/answers of prompt 1 as Int32Arrays/),
    )
    expect(() => takeTokenLists('answers', 'x' as never)).toThrow(
      refused(/answers as a list for each prompt/),
    )
  })
})

describe('takeTexts', () => {
  it.each([
    ['abc', /texts as a list of texts, found the text "abc"/],
    [['a', 3], /found 3 at 1/],
    [['a', ...new Array(1)], /found undefined at 1/],
  ])('should refuse %j', (given, message) => {
    expect(takeTexts('texts', ['a', ''])).toEqual(['a', ''])
    expect(() => takeTexts('texts', given as never)).toThrow(refused(message))
  })
})

describe('checkEach', () => {
  it('should refuse what is no list, and another thing in it', () => {
    const made = new Made<{ id: string }>('a run as scan() reads it', 'id')
    expect(() => checkEach('runs', [{ id: 'a' }], made)).not.toThrow()
    expect(() => checkEach('runs', 'folder' as never, made)).toThrow(
      refused(/runs as a list, found the text/),
    )
    expect(() => checkEach('runs', ['folder'] as never, made)).toThrow(
      refused(/a run as scan\(\) reads it, found/),
    )
    expect(() => checkList('runs', new Set() as never)).toThrow(refused(/runs as a list, found a Set/))
  })
})

describe('checkMade', () => {
  it('should refuse anything but what was made', () => {
    const made = new Made<{ weights: number }>('a model as open() opens it', 'weights')
    expect(() => checkMade({ weights: 1 }, made)).not.toThrow()
    for (const other of [undefined, null, 'base.gguf', {}, 3])
      expect(() => checkMade(other as never, made)).toThrow(
        refused(/expected a model as open\(\) opens it, found/),
      )
  })
})
