import { readFile } from 'node:fs/promises'

/** Whether this process has the file in mapped memory; false where only the system knows (all but Linux). */
export async function isMapped(path: string): Promise<boolean> {
  if (process.platform !== 'linux') return false
  return (await readFile('/proc/self/maps', 'utf8')).includes(path)
}
