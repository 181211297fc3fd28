/** What a pass over prompts may be told. */
export interface PassOptions {
  signal?: AbortSignal | undefined
  onProgress?: ((fraction: number) => void) | undefined
}

/** Each of several passes reports its part of the whole. */
export function passesOf({ signal, onProgress }: PassOptions, of: number) {
  return (pass: number): PassOptions => ({
    signal,
    onProgress: onProgress && ((fraction) => onProgress((pass + fraction) / of)),
  })
}
