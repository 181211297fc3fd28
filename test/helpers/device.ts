/** Whether to skip tests that need the second device of `npm run test:device`; says so. */
export function skippedWithoutDevice(what: string): boolean {
  if (process.env.TRAITSCOPE_TEST_RPC !== undefined) return false
  console.info(`skipped ${what}: needs a second device; npm run test:device makes one`)
  return true
}
