import { homedir, platform } from 'node:os'
import { join } from 'node:path'

/**
 * Where things are kept that can be made again, by default: `$XDG_CACHE_HOME/traitscope`, else the system's folder for
 * caches.
 */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env, system: string = platform()): string {
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, 'traitscope')
  if (system === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'traitscope', 'Cache')
  if (system === 'darwin') return join(homedir(), 'Library', 'Caches', 'traitscope')
  return join(homedir(), '.cache', 'traitscope')
}
