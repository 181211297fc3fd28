import { describe, expect, it } from 'vitest'
import { defaultCacheDir } from '../../../lib/formats/files/cache-dir.js'

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
