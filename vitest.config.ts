import { defineConfig } from 'vitest/config'

// Forked processes, not threads: a native crash then fails one file instead of the whole run.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
