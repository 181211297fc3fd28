import { spawnSync } from 'node:child_process'
import { existsSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Puts libraries with the names that ggml looks for into a folder. Who opens one creates the file that is returned.
 *
 * @returns whether one was opened since
 */
export function plantLibraries(folder: string, soname = 'libplanted.so'): () => boolean {
  const mark = join(folder, 'opened')
  const source = join(folder, 'planted.c')
  writeFileSync(
    source,
    `#include <fcntl.h>\n__attribute__((constructor)) static void opened(void) { open(${JSON.stringify(mark)}, O_CREAT, 0644); }\n`,
  )
  const planted = join(folder, 'libggml-cpu-planted.so')
  const made = spawnSync('cc', ['-shared', '-fPIC', `-Wl,-soname,${soname}`, '-o', planted, source], {
    encoding: 'utf8',
  })
  if (made.status !== 0) throw new Error(`the planted library could not be compiled: ${made.stderr}`)
  for (const name of ['libggml-blas.so', 'libggml-cuda-planted.so', 'libggml-rpc.so', 'libggml-cpu.so'])
    symlinkSync(planted, join(folder, name))
  return () => existsSync(mark)
}
