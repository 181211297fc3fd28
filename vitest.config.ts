import { defineConfig } from 'vitest/config'

// Forked processes, not threads: a native crash then fails one file instead of the whole run.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Several times what the longest takes on a machine that others use too: a limit is for what hangs.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
})
