import { describe, expect, it } from 'vitest'
import { defaultCacheDir, defaultStateDir } from '../../../lib/formats/files/cache-dir.js'

describe('defaultCacheDir', () => {
  it.each([
    ['linux', { XDG_CACHE_HOME: '/x' }, /^\/x.traitscope$/],
    ['linux', {}, /\.cache.traitscope$/],
    ['darwin', {}, /Library.Caches.traitscope$/],
    ['win32', { LOCALAPPDATA: 'C:\\Local' }, /Local.traitscope.Cache$/],
  ])('should follow the habits of %s', (system, env, expected) => {
    expect(defaultCacheDir(env, system)).toMatch(expected)
  })
})

describe('defaultStateDir', () => {
  it.each([
    ['linux', { XDG_STATE_HOME: '/x' }, /^\/x.traitscope$/],
    ['linux', {}, /\.local.state.traitscope$/],
    ['darwin', {}, /Library.Application Support.traitscope$/],
    ['win32', { LOCALAPPDATA: 'C:\\Local' }, /Local.traitscope.State$/],
  ])('should follow the habits of %s', (system, env, expected) => {
    expect(defaultStateDir(env, system)).toMatch(expected)
  })
})
