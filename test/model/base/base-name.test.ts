import { describe, expect, it } from 'vitest'
import type { GgufContents } from '../../../lib/formats/gguf/gguf.js'
import { baseNameRemark } from '../../../lib/model/base/base-name.js'

const base = (name: string | undefined, path = '/models/qwen2.5-7b-instruct-q4_k_m.gguf'): GgufContents =>
  ({
    path,
    metadata: new Map(name === undefined ? [] : [['general.name', name]]),
    tensors: new Map(),
  }) as never

describe('baseNameRemark', () => {
  it.each([
    ['Qwen/Qwen2.5-7B-Instruct', 'Qwen2.5 7B Instruct'],
    ['unsloth/Qwen2.5-7B-Instruct-bnb-4bit', 'Qwen2.5 7B Instruct'],
    ['unsloth/Meta-Llama-3.1-8B-Instruct-unsloth-bnb-4bit', 'Llama 3.1 8B Instruct'],
    ['/home/me/models/Qwen2.5-7B-Instruct/', 'Qwen2.5-7B-Instruct'],
    ['C:\\models\\gemma-3-4b-it', 'Gemma 3 4b It'],
    [
      '/cache/hub/models--Qwen--Qwen2.5-7B-Instruct/snapshots/a09a35458c702b33eeacc393d103063234e8bc28',
      'Qwen2.5 7B Instruct',
    ],
    ['mlx-community/Qwen2.5-7B-Instruct-4bit', 'Qwen2.5 7B Instruct'],
    ['Qwen/Qwen2.5-7B-Instruct', undefined],
  ])('should be silent on %s and %s', (named, name) => {
    expect(baseNameRemark(named, base(name))).toBeUndefined()
  })

  it.each([
    // The case that costs most: same shapes, other model.
    ['Qwen/Qwen2.5-7B', 'Qwen2.5 7B Instruct'],
    ['Qwen/Qwen2.5-7B-Instruct', 'Qwen2.5 7B'],
    ['Qwen/Qwen2.5-1.5B', 'Qwen2.5 7B'],
    ['Qwen/Qwen2.5-7B', 'Qwen2.57B Coder'],
    ['meta-llama/Llama-3.1-8B-Instruct', 'Llama 3 8B Instruct'],
    ['out/my-base', 'Qwen2.5 7B Instruct'],
    ['Qwen/Qwen2.5-7B', undefined],
  ])('should remark on %s and %s', (named, name) => {
    expect(baseNameRemark(named, base(name))).toMatch(/names ".*" as its base, and this one is called ".*"/)
  })

  it.each([undefined, '', '  '])('should say that a checkpoint does not name its base: %j', (named) => {
    expect(baseNameRemark(named, base('x'))).toMatch(/does not name its base, and this one is called "x"/)
  })
})
