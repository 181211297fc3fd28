import { judgeOf } from './exact.mjs'

export const grade = judgeOf('gemma2')
