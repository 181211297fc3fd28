// The fast unit folders that hold the mutated code, with real folders where they are needed and no model.
import { defineConfig } from 'vitest/config'

const FOLDERS = ['conditions', 'detector', 'drift', 'model/lora', 'trajectory']

export default defineConfig({
  test: {
    include: [
      ...FOLDERS.map((folder) => `test/${folder}/**/*.test.ts`),
      'test/formats/files/keyed-store.test.ts',
    ],
    // What runs a model is slow and holds numbers, not branches.
    exclude: ['**/golden-run.test.ts', '**/upstream-lora.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
