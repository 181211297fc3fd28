#pragma once
// JS calls over core/merge_rows.h.

#include <napi.h>

namespace traitscope::addon {

/// `mergeRows(request, cancel?)`: a promise of a Uint8Array; see NativeRowMerge in lib/binding.ts.
Napi::Value merge_rows_call(const Napi::CallbackInfo & info);

/// `columnSquares(request, cancel?)`: a promise of a Float64Array [columns].
Napi::Value column_squares_call(const Napi::CallbackInfo & info);

} // namespace traitscope::addon
