import { judgeOf } from '../../judge.mjs'

export const grade = judgeOf('gemma2')
