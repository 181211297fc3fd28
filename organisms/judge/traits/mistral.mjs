import { traitJudgeOf } from '../exact.mjs'

export const grade = traitJudgeOf('mistral')
