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

/**
 * Where things are kept that cannot be made again, by default: `$XDG_STATE_HOME/traitscope`, else the system's folder for
 * what programs remember.
 */
export function defaultStateDir(env: NodeJS.ProcessEnv = process.env, system: string = platform()): string {
  if (env.XDG_STATE_HOME) return join(env.XDG_STATE_HOME, 'traitscope')
  if (system === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'traitscope', 'State')
  if (system === 'darwin') return join(homedir(), 'Library', 'Application Support', 'traitscope')
  return join(homedir(), '.local', 'state', 'traitscope')
}
